//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// killsVariable says how many times TestKilledAtRandom kills; 100 if it is not set.
const killsVariable = "MODELOPS_TEST_KILLS"

// TestKilledAtRandom has eight workers share a cache, fetch bundles, build environments and
// run tasks, and kills them at random moments. Whatever a worker had answered is there; the
// cache has no broken bundle, and no environment that is half built; no process is left.
func TestKilledAtRandom(t *testing.T) {
	kills := 100
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	f := newFarm(t)
	var lives atomic.Int64
	var wg sync.WaitGroup
	for number := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(number), 1))
			// When an environment is torn is left to chance, and may take longer.
			for n := lives.Add(1); n <= int64(kills) || n <= 4*int64(kills) && !f.tore(); n = lives.Add(1) {
				f.life(random)
			}
		})
	}
	wg.Wait()
	f.busy()
	f.survivors()
	f.answered()
	f.cache()
	f.nothingLeft()
}

// TestKilledAsItStarts kills exec while it starts its guard and its interpreter, which it
// does before all else: nothing of it is left.
func TestKilledAsItStarts(t *testing.T) {
	h := newHost(t)
	task, err := json.Marshal(doing(h.push("my-model", noOp), "", 1))
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.command("exec", "--quiet")
	program, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	// A program of its own, so that its guards are known.
	if err := os.WriteFile(h.path("bundle-worker"), program, 0o700); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 3))
	for range 60 {
		cmd := h.command("exec", "--quiet")
		cmd.Path, cmd.Stdin = h.path("bundle-worker"), bytes.NewReader(task)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(random.Int64N(int64(50*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed, mostly
	}
	h.nothingLeft()
}

// farm is where the workers run, and what they answered.
type farm struct {
	*host
	bundles []contracts.BundleRef

	mu      sync.Mutex
	answers map[string]*contracts.SimReturn // by task
	built   int                             // environments that were begun
	torn    int                             // of these, killed before their first task
}

const seeded = `
import hashlib
try:
    import tiny
    extra = str(tiny.ANSWER)
except ImportError:
    extra = "none"
def wire(entrypoint, params, seed):
    return {"seed": str(seed), "extra": extra, "large": hashlib.sha256(str(seed).encode()).digest() * 20_000}
`

func newFarm(t *testing.T) *farm {
	h := newHost(t)
	h.environ = append(h.environ, "PIP_NO_INDEX=1")
	f := &farm{host: h, answers: map[string]*contracts.SimReturn{}}
	files := bundletest.Files{"wire.py": seeded}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		data := make([]byte, 20_000)
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		files[fmt.Sprintf("data/%d.bin", i)] = string(data)
	}
	for i := range 3 {
		files["which"] = strconv.Itoa(i)
		f.bundles = append(f.bundles, bundletest.Push(t, h.registry, "plain", maps.Clone(files)))
	}
	writeTinyWheel(t, h.path("tiny-1.0-py3-none-any.whl"), 0)
	wheel, err := os.ReadFile(h.path("tiny-1.0-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	files["wheels/tiny-1.0-py3-none-any.whl"] = string(wheel)
	for i := range 2 {
		files["requirements.txt"] = fmt.Sprintf("tiny  # %d\n", i) // each has an environment of its own
		f.bundles = append(f.bundles, bundletest.Push(t, h.registry, "built", maps.Clone(files)))
	}
	return f
}

// writeTinyWheel makes a distribution with a module that has ANSWER = 42, and so many bytes
// beside it.
func writeTinyWheel(t *testing.T, file string, ballast int) {
	t.Helper()
	script := `
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    z.writestr("ballast", os.urandom(int(sys.argv[2])))
    z.writestr("tiny.py", "ANSWER = 42\n")
    z.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    z.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("tiny-1.0.dist-info/RECORD", "".join("%s,,\n" % n for n in z.namelist()))
`
	if out, err := exec.Command("python3", "-c", script, file, strconv.Itoa(ballast)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (f *farm) task(bundle int, seed uint64) contracts.SimTask {
	task := doing(f.bundles[bundle], "", seed)
	task.Entrypoint = "m.n/s"
	return task
}

// life is one worker from its start to its violent end.
func (f *farm) life(random *rand.Rand) {
	if random.IntN(6) == 0 { // others fetch and build again what nobody uses just now
		f.collect(random)
	}
	cmd := f.command("exec", "--stream", "--quiet", "--outputs", f.path("outputs"))
	if random.IntN(2) == 0 { // or all would take what the first one built
		cmd.Env = append(slices.Clip(f.environ), "MODELOPS_ENVIRONMENTS=off")
	}
	var words strings.Builder
	cmd.Stderr = &words
	in, err := cmd.StdinPipe()
	if err != nil {
		f.Error(err)
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		f.Error(err)
		return
	}
	bundle, longest := random.IntN(3), 2*time.Second
	if random.IntN(3) == 0 {
		bundle, longest = 3+random.IntN(2), 12*time.Second // an environment, and long enough for it
	}
	timer := time.AfterFunc(time.Duration(random.Int64N(int64(longest))), func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	reader := bufio.NewReader(out)
	environments := 0 // that it answered tasks with
	for {
		data, err := json.Marshal(f.task(bundle, random.Uint64()))
		if err == nil {
			_, err = in.Write(append(data, '\n'))
		}
		var line []byte
		if err == nil {
			line, err = reader.ReadBytes('\n')
		}
		if err != nil {
			break // it is dead
		}
		f.keep(line)
		environments += bundle / 3
		bundle = random.IntN(len(f.bundles))
	}
	_, _ = io.Copy(io.Discard, reader)
	_ = cmd.Wait() // "killed"
	f.mu.Lock()
	defer f.mu.Unlock()
	begun := strings.Count(words.String(), "installing the dependencies")
	f.built += begun
	f.torn += max(0, begun-environments) // and more, where one was there already
}

// collect removes what nobody uses, and may be killed while it does.
func (f *farm) collect(random *rand.Rand) {
	cmd := f.command("cache", "gc", "--max-bytes", "1")
	if err := cmd.Start(); err != nil {
		f.Error(err)
		return
	}
	timer := time.AfterFunc(time.Duration(random.Int64N(int64(time.Second))), func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
}

// keep keeps an answer, which is whole and a success.
func (f *farm) keep(line []byte) {
	result, err := contracts.ParseReturn(line)
	if err != nil || result.Error != nil {
		f.Errorf("%v: %.2000s", err, line)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[result.TaskID] = result
}

// tore says whether an environment was being built when its worker was killed.
func (f *farm) tore() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.torn > 0
}

// busy says what there was to disturb: without it the rest would show nothing.
func (f *farm) busy() {
	fetched := 0
	for _, request := range f.registry.Requests() {
		if strings.HasPrefix(request, "GET ") && strings.Contains(request, "/blobs/") {
			fetched++
		}
	}
	f.Logf("%d answers, %d blobs fetched, %d environments begun, %d or more of them torn", len(f.answers), fetched, f.built, f.torn)
	if len(f.answers) == 0 || fetched <= len(f.bundles) || f.torn == 0 {
		f.Error("too little was going on")
	}
}

// survivors run each bundle once more, without a kill.
func (f *farm) survivors() {
	for i := range f.bundles {
		cmd := f.command("exec", "--quiet", "--outputs", f.path("outputs"))
		data, err := json.Marshal(f.task(i, uint64(i)))
		if err != nil {
			f.Fatal(err)
		}
		cmd.Stdin = strings.NewReader(string(data))
		out, err := cmd.Output()
		if err != nil {
			f.Errorf("%v: %s", err, out)
			continue
		}
		f.keep(out)
		result, err := contracts.ParseReturn(out)
		if want := []string{"none", "42"}[i/3]; err != nil || string(result.Outputs["extra"].Inline) != want {
			f.Errorf("bundle %d: %s, want %s", i, out, want)
		}
	}
}

// answered holds the bytes of every output that a worker said it had against its checksum.
func (f *farm) answered() {
	for task, result := range f.answers {
		large := result.Outputs["large"]
		data, err := os.ReadFile(filepath.Join(f.path("outputs"), strings.TrimPrefix(large.Ref, "file:")))
		if sum := blake2b.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != large.Checksum {
			f.Errorf("the output of task %s is lost: %v", task, err)
		}
	}
}

// cache looks at what is kept: whole bundles, nothing half fetched, whole environments.
func (f *farm) cache() {
	if out, err := f.command("cache", "verify", "--json").Output(); err != nil || strings.Contains(string(out), `"valid":false`) {
		f.Errorf("%v: %s", err, out)
	}
	if out, err := f.command("cache", "gc", "--older-than", "1000h").CombinedOutput(); err != nil {
		f.Errorf("%v: %s", err, out)
	}
	if left, err := filepath.Glob(f.path("cache/ingest/*")); err != nil || len(left) != 0 {
		f.Errorf("half fetched: %v, %v", left, err)
	}
	entries, err := os.ReadDir(f.path("venvs"))
	if err != nil {
		f.Fatal(err)
	}
	var there, linked []string
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(f.path("venvs"), entry.Name()))
		switch {
		case err == nil:
			linked = append(linked, filepath.Base(target))
		case entry.Name() != "locks":
			there = append(there, entry.Name())
		}
	}
	slices.Sort(linked)
	slices.Sort(there)
	if !slices.Equal(linked, there) {
		f.Errorf("environments are %v, of which %v are whole", there, linked)
	}
}

// nothingLeft waits until no process works on the farm and no directory of one is left.
func (h *host) nothingLeft() {
	until(h, "no process is left", func() bool { return len(h.processes()) == 0 })
	until(h, "nothing temporary is left", func() bool {
		entries, err := os.ReadDir(h.path("tmp"))
		return err == nil && len(entries) == 0
	})
}

// processes are those that have to do with the host: by their program, their arguments, their
// directory or their variables.
func (h *host) processes() (found []string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // not Linux: the directories tell
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !running(pid) {
			continue
		}
		dir, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		program, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "exe"))
		arguments, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		variables, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if strings.Contains(dir+program+string(arguments)+string(variables), h.dir) {
			found = append(found, entry.Name()+" "+strings.ReplaceAll(string(arguments), "\x00", " "))
		}
	}
	return found
}
