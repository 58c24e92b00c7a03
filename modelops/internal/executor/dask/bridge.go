package dask

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // bridge.py
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

//go:embed bridge.py
var bridgeSource []byte

// line is what the bridge says: one of these.
type line struct {
	Ready    *ready    `json:"ready"`
	Workers  *[]worker `json:"workers"`
	Unusable *struct {
		Worker string `json:"worker"`
		Why    string `json:"why"`
	} `json:"unusable"`
	Failed *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"failed"`
	Waiting string   `json:"waiting"`
	Batch   string   `json:"batch"`
	Worker  string   `json:"worker"` // address of the one that ran the batch
	Returns []answer `json:"returns"`
	Left    []string `json:"left"` // keys of what was not begun, and is to be given away again
	More    bool     `json:"more"` // the batch has more returns
	Lost    string   `json:"lost"`
}

type ready struct {
	Distributed string   `json:"distributed"`
	Workers     []worker `json:"workers"`
}

// worker is a Dask worker.
type worker struct {
	Address   string             `json:"address"`
	Name      string             `json:"name"`
	Threads   int                `json:"threads"`
	Memory    int64              `json:"memory"` // bytes that it may use; 0 for all
	Resources map[string]float64 `json:"resources"`
}

// answer is [key, result, why there is none]. The result is what the worker said: it is no
// result before that was read.
type answer struct {
	Key    string
	Return string
	Why    string
}

// UnmarshalJSON reads the three.
func (a *answer) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&a.Key, &a.Return, &a.Why}) // null leaves what is there
}

// order is what the plugin is told.
type order struct {
	Job         string `json:"job"`
	Contract    string `json:"contract"`
	Platform    string `json:"platform"` // of the program, as Python names it
	Digest      string `json:"digest"`
	Size        int64  `json:"size"`
	Environment string `json:"environment"`
}

type start struct {
	Scheduler string                `json:"scheduler"`
	TLS       *contracts.ComputeTLS `json:"tls"`
	Plugin    string                `json:"plugin"`
	Program   string                `json:"program"`
	Attempt   string                `json:"attempt"`
	Wait      float64               `json:"wait"` // seconds, for a worker
	Order     order                 `json:"order"`
}

// bridge is a running bridge.
type bridge struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan *line // closed when it has ended; room for all that it may say while nobody listens
	last    *line      // that said why
	err     error      // of reading, or of its process
	workers []worker
	dir     string
	gone    chan struct{}
}

// connect starts a bridge and waits until the plugin is on the workers. When the scheduler
// has another version of distributed than the bridge, one with its version is started.
func (r *running) connect(ctx context.Context) (*bridge, error) {
	version := defaultVersion
	for {
		r.Log.Info("connecting", "scheduler", r.Compute.Scheduler, "distributed", version)
		b, err := r.launch(ctx, version)
		if err != nil {
			return nil, err
		}
		first, err := r.ready(ctx, b)
		if err != nil {
			b.close()
			return nil, err
		}
		if first != nil {
			b.workers = first.Workers
			r.Log.Info("connected", "scheduler", r.Compute.Scheduler, "distributed", first.Distributed, "workers", len(b.workers), "threads", b.threads())
			return b, nil
		}
		b.close()
		if b.last == nil || b.last.Failed == nil || b.last.Failed.Code != "version" || b.last.Failed.Message == version {
			return nil, b.ended(false)
		}
		version = b.last.Failed.Message
	}
}

// ready waits until the bridge is; nil when it ends before. Workers that cannot run tasks
// may say so earlier.
func (r *running) ready(ctx context.Context, b *bridge) (*ready, error) {
	for {
		select {
		case line, ok := <-b.lines:
			if !ok {
				return nil, nil
			}
			if line.Ready != nil {
				return line.Ready, nil
			}
			if err := r.take(ctx, b, line); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// launch starts a bridge with a version of distributed.
func (r *running) launch(ctx context.Context, version string) (*bridge, error) {
	python, err := r.python(ctx, version)
	if err != nil {
		return nil, err
	}
	s, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "modelops-bridge-")
	if err != nil {
		return nil, cannot("make a directory", err)
	}
	script := filepath.Join(dir, "bridge.py")
	if err := os.WriteFile(script, bridgeSource, 0o400); err != nil {
		_ = os.RemoveAll(dir)
		return nil, cannot("write the bridge", err)
	}
	b := &bridge{dir: dir, lines: make(chan *line, 2*windowMost), gone: make(chan struct{})}
	b.cmd = exec.Command(python, "-u", "-B", script)
	b.cmd.Env = r.Environ
	b.cmd.Dir = dir
	b.cmd.Stderr = logWriter{r.Log}
	apart(b.cmd)
	out, err := b.cmd.StdoutPipe()
	if err == nil {
		b.in, err = b.cmd.StdinPipe()
	}
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, cannot("start the bridge", err)
	}
	go b.read(out)
	if err := b.write(map[string]any{"start": s}); err != nil {
		b.close()
		return nil, b.ended(false)
	}
	return b, nil
}

// start is the first line to a bridge.
func (r *running) start(ctx context.Context) (*start, error) {
	data, err := os.ReadFile(r.Worker)
	if err != nil {
		return nil, cannot("read bundle-worker", err)
	}
	plugin, err := exec.CommandContext(ctx, r.Worker, "dask-plugin").Output()
	if err != nil {
		return nil, cannot("ask "+contracts.Quote(r.Worker)+" for its Dask plugin", err)
	}
	sum := sha256.Sum256(data)
	return &start{
		Scheduler: r.Compute.Scheduler, TLS: r.Compute.TLS, Plugin: string(plugin), Program: r.Worker, Attempt: rand.Text()[:8], Wait: r.Patience.Seconds(),
		Order: order{
			Job: r.Job, Contract: contracts.ContractVersion, Platform: platform(), Digest: hex.EncodeToString(sum[:]), Size: int64(len(data)), Environment: string(r.Environment),
		},
	}, nil
}

// platform is this one's, as Python's sys.platform and platform.machine name it.
func platform() string {
	machine := map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64", "darwin/amd64": "x86_64", "darwin/arm64": "arm64"}
	here := runtime.GOOS + "/" + runtime.GOARCH
	return runtime.GOOS + "/" + cmp.Or(machine[here], runtime.GOARCH)
}

// maxLine bounds a line of the bridge, which has one large result at most.
const maxLine = 512 << 20

func (b *bridge) read(out io.Reader) {
	defer close(b.gone)
	defer close(b.lines)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		data, err := readLine(lines)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				b.err = err
			}
			break
		}
		said := &line{}
		if b.err = json.Unmarshal(data, said); b.err != nil {
			break
		}
		if said.Failed != nil {
			b.last = said
			continue
		}
		b.lines <- said
	}
	if b.err != nil {
		_ = b.cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, lines)
	}
	if err := b.cmd.Wait(); b.err == nil {
		b.err = err
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && whole == nil {
			return part, nil
		}
		whole = append(whole, part...)
		switch {
		case err == nil:
			return whole, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(whole) > maxLine:
			return nil, fmt.Errorf("the bridge said a line of more than %d bytes", maxLine)
		}
	}
}

func (b *bridge) write(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = b.in.Write(append(data, '\n'))
	return err
}

func batchName(number int) string { return "b" + strconv.Itoa(number) }

// submit gives a batch to the cluster. known is the digest of the environment that results
// need not describe.
func (b *bridge) submit(name string, attempts []*attempt, documents []string, needs map[string]float64, known string) error {
	tasks := make([][2]string, len(attempts))
	for i, a := range attempts {
		tasks[i] = [2]string{a.task.Key, documents[i]}
	}
	return b.write(map[string]any{"batch": name, "tasks": tasks, "resources": needs, "environment": known, "avoid": attempts[0].avoid, "first": attempts[0].again})
}

func (b *bridge) threads() int {
	n := 0
	for _, w := range b.workers {
		n += w.Threads
	}
	return n
}

const windowMost = 1 << 13

// window is how many batches the cluster may have: one for each thread, and one that waits.
func (b *bridge) window() int { return max(1, min(windowMost, 2*b.threads())) }

const endWithin = 20 * time.Second // for the bridge to end what runs, and itself

// hangUp has the bridge end what runs, and itself. A write that it does not take ends too.
func (b *bridge) hangUp() { _ = b.in.Close() }

// close ends the bridge.
func (b *bridge) close() {
	b.hangUp()
	kill := time.AfterFunc(endWithin, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	for range b.lines { // nobody wants them any more
	}
	<-b.gone
	_ = os.RemoveAll(b.dir)
}

// ended says why the bridge ended by itself. worked says that it had been ready.
func (b *bridge) ended(worked bool) error {
	b.close()
	e := &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageSubmit, Hint: "the address is compute.scheduler in the environment file; mops doctor looks at it"}
	switch {
	case b.last == nil:
		e.Code, e.Hint = contracts.CodeInternal, "the driver's log has its last words: mops jobs logs"
		e.Message = fmt.Sprintf("the bridge to Dask ended: %v", b.err)
		if !worked { // it would end again
			return e
		}
		return &goneError{e, worked}
	case b.last.Failed.Code == "unusable":
		e.Code, e.Message, e.Hint = contracts.CodeFailed, b.last.Failed.Message, "the reason is the worker's own"
		return e
	case b.last.Failed.Code == "version":
		e.Code, e.Message, e.Hint = contracts.CodeContractMismatch, "the scheduler has distributed "+contracts.Quote(b.last.Failed.Message)+", and the bridge could not be made with it", ""
		return e
	}
	e.Message = b.last.Failed.Message
	return &goneError{e, worked}
}

// needs is what a task asks of a Dask worker that says what it has. Where none says, it
// needs a worker with as many threads as it has cores.
func (b *bridge) needs(asked *contracts.Resources) (map[string]float64, error) {
	if asked == nil {
		return nil, nil
	}
	memory, err := asked.MemoryBytes()
	if err != nil {
		return nil, err
	}
	wants := map[string]float64{"cores": float64(asked.Cores), "memory": float64(memory)}
	needs := map[string]float64{}
	for name, amount := range wants {
		if amount > 0 && b.advertised(name) {
			needs[name] = amount
		}
	}
	for _, w := range b.workers {
		if w.meets(wants) {
			return needs, nil
		}
	}
	if len(b.workers) == 0 {
		return needs, nil // they will come
	}
	return needs, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
		Message: fmt.Sprintf("no worker of the cluster can run a task with %s; the largest has %s", amounts(wants), b.largest()),
		Hint:    "ask for less in the study's resources, or have larger workers"}
}

func (b *bridge) advertised(name string) bool {
	for _, w := range b.workers {
		if _, says := w.Resources[name]; says {
			return true
		}
	}
	return false
}

func (w worker) meets(wants map[string]float64) bool {
	for name, amount := range wants {
		has, says := w.Resources[name]
		if !says {
			switch {
			case name == "cores":
				has = float64(w.Threads)
			case w.Memory > 0:
				has = float64(w.Memory)
			default:
				continue
			}
		}
		if amount > has {
			return false
		}
	}
	return true
}

func (b *bridge) largest() string {
	most := map[string]float64{}
	for _, w := range b.workers {
		most["cores"] = max(most["cores"], float64(w.Threads), w.Resources["cores"])
		most["memory"] = max(most["memory"], float64(w.Memory), w.Resources["memory"])
	}
	return amounts(most)
}

func amounts(of map[string]float64) string {
	var parts []string
	if of["cores"] > 0 {
		parts = append(parts, fmt.Sprintf("%g %s", of["cores"], map[bool]string{true: "core", false: "cores"}[of["cores"] == 1]))
	}
	if of["memory"] > 0 {
		parts = append(parts, fmt.Sprintf("%.1f GiB of memory", of["memory"]/(1<<30)))
	}
	return strings.Join(parts, " and ")
}

func cannot(what string, err error) error {
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageSubmit, Message: "cannot " + what + ": " + err.Error()}).Because(err)
}
