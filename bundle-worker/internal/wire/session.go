//go:build unix

package wire

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/rpc"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/contracts"
)

// lastWords is how long a process that closed its connection has to end by itself, so
// that how it ended can be told.
const lastWords = 2 * time.Second

// Launch is what a session starts with.
type Launch struct {
	Supervisor  *runner.Supervisor
	Interpreter string   // python, absolute
	Bundle      string   // the bundle's directory; not for Spawn
	Environ     []string // the worker's own; the process gets what it may see of it
	Bytecode    string   // a directory of this user's alone, where the compiled harness is kept; "" for nowhere
	Cores       int      // threads, see [runner.Environ]
	Memory      int64    // bytes, see [runner.Spec]; not for Spawn
}

// Session is a Python process that calls a bundle's wire. It serves one task at a time.
type Session struct {
	// Info is what the process says about its interpreter.
	Info Info

	process *harness.Process
	conn    *rpc.Conn
	code    bytecode
	dead    bool
}

// Info is what an interpreter says about itself.
type Info struct {
	Python     string            `json:"python"` // as in 3.12.1
	Platform   string            `json:"platform"`
	Executable string            `json:"executable"`
	Packages   map[string]string `json:"packages"`
}

// Record is the environment that tasks of this interpreter have.
func (i Info) Record() contracts.EnvironmentRecord {
	return contracts.EnvironmentRecord{Python: i.Python, Platform: i.Platform, Packages: i.Packages}
}

// Start starts a session. The caller closes it.
func Start(ctx context.Context, l Launch) (*Session, error) {
	s, err := Spawn(l)
	if err != nil {
		return nil, err
	}
	return bind(ctx, s, l)
}

// bind is [Session.Bind], or the end of the session.
func bind(ctx context.Context, s *Session, l Launch) (*Session, error) {
	if err := s.Bind(ctx, l.Bundle, l.Memory); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Spawn starts a session that is no bundle's yet, see [Session.Bind], without waiting for
// it. The caller closes it.
func Spawn(l Launch) (*Session, error) {
	process, err := harness.Start(l.Supervisor, l.process())
	if err != nil {
		return nil, cannotPrepare(err)
	}
	return newSession(process, l), nil
}

// newSession is a session of a process that was started, and now proceeds.
func newSession(process *harness.Process, l Launch) *Session {
	s := &Session{process: process, conn: rpc.NewConn(process.Answers, process.Requests), code: newBytecode(l.Bytecode, process.Scratch.Dir)}
	s.code.lend()
	_ = process.Proceed() // a process that is gone is noticed by the first call
	return s
}

func (l Launch) process() harness.Launch {
	return harness.Launch{Interpreter: l.Interpreter, Environ: l.Environ, Cores: l.Cores}
}

// Bind makes the session that of a bundle, whose processes may use so many bytes of memory.
func (s *Session) Bind(ctx context.Context, bundle string, memory int64) error {
	s.process.Limit(memory)
	err := s.call(ctx, "initialize", struct {
		Bundle string `json:"bundle"`
	}{bundle}, &s.Info)
	if err == nil {
		s.code.keep() // nothing of the bundle was loaded yet
	}
	return err
}

// EntryPoints are those in the group modelops.wire of what is installed.
func (s *Session) EntryPoints(ctx context.Context) ([]Installed, error) {
	var answer struct {
		EntryPoints []Installed `json:"entry_points"`
	}
	err := s.call(ctx, "entry_points", struct{}{}, &answer)
	return answer.EntryPoints, err
}

func cannotPrepare(err error) *contracts.Error {
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StagePrepare,
		Message: "the simulation's process cannot be prepared: " + contracts.Quote(err.Error()),
		Hint:    "check the worker's temporary directory: " + contracts.Quote(os.TempDir()) + ", which TMPDIR names",
	}).Because(err)
}

// Load imports the wire.
func (s *Session) Load(ctx context.Context, target string) error {
	return s.call(ctx, "load", struct {
		Target string `json:"target"`
	}{target}, nil)
}

type runParams struct {
	Entrypoint string            `json:"entrypoint"`
	Params     contracts.Params  `json:"params"`
	Seed       uint64            `json:"seed"`
	Environ    map[string]string `json:"environ"`
	Spool      string            `json:"spool"`
	MaxOutput  int64             `json:"max_output"`
}

type runResult struct {
	Outputs []struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
		File string `json:"file"`
	} `json:"outputs"`
}

// Run calls the wire for one task and hands its outputs to collect, which may read them
// until it returns.
func (s *Session) Run(ctx context.Context, task *contracts.SimTask, collect *Collector) error {
	dirs, err := s.process.Scratch.Task()
	if err != nil {
		return cannotPrepare(err)
	}
	defer func() { _ = dirs.Remove() }() // what cannot be removed now goes with the session
	s.process.Output.Reset()
	params := task.Params.Values
	if params == nil {
		params = contracts.Params{}
	}
	var result runResult
	err = s.call(ctx, "run", runParams{
		Entrypoint: task.Entrypoint, Params: params, Seed: task.Seed, Environ: dirs.Environment(),
		Spool: dirs.Dir, MaxOutput: collect.MaxOutput,
	}, &result)
	if err != nil {
		return err
	}
	return s.withOutput(s.collect(collect, dirs, result))
}

func (s *Session) collect(collect *Collector, dirs *runner.Task, result runResult) error {
	for _, output := range result.Outputs {
		var err error
		if output.File == "" {
			err = collect.Bytes(output.Name, output.Data)
		} else {
			err = spooled(collect, output.Name, dirs.Dir, output.File)
		}
		if err != nil {
			return err
		}
	}
	return collect.Directory(dirs.Output)
}

// spooled takes an output that the process put into a file of the task's directory.
func spooled(collect *Collector, name, dir, file string) error {
	spool, err := os.OpenRoot(dir)
	if err != nil {
		return cannotStore(err)
	}
	defer spool.Close()
	return collect.File(name, spool, file)
}

// call makes one call and explains whatever goes wrong with it. When ctx ends first, the
// process does too.
func (s *Session) call(ctx context.Context, method string, params, result any) error {
	if s.dead {
		return brokenProtocol("it has ended")
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = s.process.Answers.SetReadDeadline(time.Unix(1, 0))
		_ = s.process.Requests.SetWriteDeadline(time.Unix(1, 0))
		s.process.Stop()
	})
	err := s.conn.Call(method, params, result)
	if !stop() {
		<-stopped
		s.dead = true
		return s.withOutput(context.Cause(ctx))
	}
	if err == nil {
		return nil
	}
	return s.withOutput(s.explain(err))
}

// explain says what the end of a call means; the process is gone after most.
func (s *Session) explain(err error) error {
	if answer, ok := errors.AsType[*rpc.Error](err); ok {
		return parseFailure(answer.Data, answer.Message)
	}
	s.dead = true
	if broken, ok := errors.AsType[*rpc.FrameError](err); ok {
		s.process.Kill()
		return brokenProtocol(broken.Reason)
	}
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-s.process.Done():
	case <-timer.C:
		s.process.Kill()
		return brokenProtocol(err.Error())
	}
	exit := s.process.Wait()
	if e := exitError(exit, "the simulation's process"); e != nil {
		return e
	}
	return &contracts.Error{
		Code: contracts.CodeExit, Stage: contracts.StageRun,
		Message: "the simulation's process ended with exit code 0 before it answered",
		Hint:    "the model calls os._exit, or something that does",
	}
}

// withOutput adds what the process wrote to an error.
func (s *Session) withOutput(err error) error {
	e, ok := errors.AsType[*contracts.Error](err)
	if !ok {
		return err
	}
	s.process.Output.Sync()
	with := *e
	with.StderrTail = s.process.Output.Text()
	return (&with).Because(err)
}

// Output is what the process wrote since the last task began.
func (s *Session) Output() string {
	s.process.Output.Sync()
	return s.process.Output.Text()
}

// Dead says that the process is gone or cannot be used any more.
func (s *Session) Dead() bool {
	select {
	case <-s.process.Done():
		return true
	default:
		return s.dead
	}
}

// Exceeded says that the process was killed because it used more memory than it may.
func (s *Session) Exceeded() bool {
	select {
	case <-s.process.Done():
		return s.process.Wait().Excess.Used > 0
	default:
		return false
	}
}

// MemoryUsed is what the process and all that it started use, in bytes.
func (s *Session) MemoryUsed() int64 { return s.process.MemoryUsed() }

// Close ends the process and removes what was its own.
func (s *Session) Close() {
	_ = s.process.Requests.Close() // an idle process ends by itself
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-s.process.Done():
	case <-timer.C:
		s.process.Kill()
	}
	_ = s.process.Answers.Close()
	_ = s.process.Scratch.Remove()
}
