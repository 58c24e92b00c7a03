//go:build unix

package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// launcher starts workers from one thread: on Linux a process can be told to end with
// the thread, not the process, that started it.
type launcher struct {
	orders chan *exec.Cmd
	errs   chan error
}

func newLauncher() *launcher {
	l := &launcher{orders: make(chan *exec.Cmd), errs: make(chan error)}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for cmd := range l.orders {
			l.errs <- cmd.Start()
		}
	}()
	return l
}

func (l *launcher) close() { close(l.orders) }

// worker is a running bundle-worker.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	pipe   *os.File // what out reads
	out    *bufio.Reader
	stderr *tail
	ended  chan struct{}
	err    error // of Wait, once ended
}

func (l *launcher) start(e *Executor, inputs string, log *slog.Logger) (*worker, error) {
	args := []string{"exec", "--stream", "--outputs", e.Outputs, "--inputs", inputs}
	if e.EnvFile != "" {
		args = append([]string{"--env-file", e.EnvFile}, args...)
	}
	cmd := exec.Command(e.Program, args...)
	cmd.Env = e.Environ
	cmd.SysProcAttr = attributes()
	w := &worker{cmd: cmd, stderr: &tail{log: log}, ended: make(chan struct{})}
	cmd.Stderr = w.stderr
	cmd.WaitDelay = 5 * time.Second // for what still holds stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, startError(e.Program, err)
	}
	// Not StdoutPipe, which Wait closes under the reader's hands.
	out, outW, err := os.Pipe()
	if err != nil {
		return nil, startError(e.Program, err)
	}
	cmd.Stdout = outW
	w.in, w.pipe, w.out = in, out, bufio.NewReaderSize(out, 64<<10)
	l.orders <- cmd
	err = <-l.errs
	_ = outW.Close()
	if err != nil {
		_ = out.Close()
		return nil, startError(e.Program, err)
	}
	go func() {
		w.err = cmd.Wait()
		close(w.ended)
	}()
	return w, nil
}

func startError(program string, err error) error {
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageRun,
		Message: "cannot start " + contracts.Quote(program) + ": " + err.Error()}).Because(err)
}

// answer is a line of the worker's, or why there is none.
type answer struct {
	line []byte
	err  error
}

// do has the worker run a task. failure is what became of the worker, which is then of
// no more use; it is not set when ctx ended first.
func (w *worker) do(ctx context.Context, task jobs.Task) (result *contracts.SimReturn, failure *contracts.Error) {
	line, err := json.Marshal(task.Sim)
	if err != nil {
		return nil, &contracts.Error{Code: contracts.CodeInternal, Stage: contracts.StageSubmit, Message: err.Error()}
	}
	answers := make(chan answer, 1)
	go func() {
		if _, err := w.in.Write(append(line, '\n')); err != nil {
			answers <- answer{err: err}
			return
		}
		line, err := readLine(w.out)
		answers <- answer{line, err}
	}()
	var late <-chan time.Time
	if d := limit(task); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case a := <-answers:
		return w.read(task, a)
	case <-late:
		w.kill()
		return nil, overdue(task)
	case <-ctx.Done():
		w.stop()
		return nil, nil
	}
}

// read makes a result of an answer.
func (w *worker) read(task jobs.Task, a answer) (*contracts.SimReturn, *contracts.Error) {
	if a.err != nil && !errors.Is(a.err, errLong) {
		return nil, w.death()
	}
	if a.err == nil {
		result, err := contracts.ParseReturn(a.line)
		if err == nil {
			return result, nil
		}
		a.err = err
		var envelope contracts.Envelope
		if json.Unmarshal(a.line, &envelope) == nil && envelope.Error != nil && envelope.Error.Message != "" {
			return nil, envelope.Error // it could not even begin, and says why
		}
	}
	e := *contracts.AsError(a.err)
	e.Code, e.Stage = contracts.CodeProtocol, contracts.StageRun
	e.Message = "the worker's answer to task " + task.Key + " is none: " + e.Message
	e.StderrTail = w.stderr.String()
	return nil, &e
}

// death says how the worker ended without an answer.
func (w *worker) death() *contracts.Error {
	w.await(10 * time.Second)
	e := &contracts.Error{Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, StderrTail: w.stderr.String(), Retryable: true}
	status, _ := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		e.Code = contracts.CodeSignal
		e.Message = fmt.Sprintf("bundle-worker was killed by signal %d (%s) while the task ran", status.Signal(), status.Signal())
	default:
		e.Message = fmt.Sprintf("bundle-worker ended with exit code %d while the task ran", status.ExitStatus())
	}
	return e
}

// close tells the worker that there is nothing more to do, and waits for its end.
func (w *worker) close() {
	_ = w.in.Close()
	w.await(10 * time.Second)
}

// stop ends the worker and what it runs.
func (w *worker) stop() {
	_ = w.in.Close()
	_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGTERM)
	w.await(5 * time.Second)
}

// kill ends the worker at once.
func (w *worker) kill() { w.await(0) }

// await waits for the worker's end, and kills its process group when that takes too long.
func (w *worker) await(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.ended:
	case <-timer.C:
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
		<-w.ended
	}
	_ = w.pipe.Close()
}

// maxLine bounds an answer: outputs that are large go by file.
const maxLine = 512 << 20

var errLong = errors.New("a line of more than 512 MiB")

// readLine is the next line without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case err != bufio.ErrBufferFull:
			return nil, io.ErrUnexpectedEOF
		case len(line) > maxLine:
			return nil, errLong
		}
	}
}
