//go:build unix

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/cache"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/config"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/task"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/contracts"
)

// maxTask bounds a task's JSON, in bytes.
const maxTask = 64 << 20

func execCommand() command {
	return command{
		name: "exec", usage: "run one task: JSON on stdin, its result as JSON on stdout", example: "bundle-worker exec < task.json",
		flags: func(set *flag.FlagSet, f *flags) {
			set.StringVar(&f.outputs, "outputs", "", "put outputs over 512 KiB into `DIR`, and name them in the result")
			set.StringVar(&f.inputs, "inputs", "", "find in `DIR` what the task of an evaluation refers to as file:<checksum>")
			set.IntVar(&f.repeat, "repeat", 1, "run each task `N` times, each in a process of its own, and name the first output whose bytes differ")
			set.BoolVar(&f.stream, "stream", false, "run the task of each line of stdin, with one warm process, and answer a line for each")
		},
		run: runExec,
	}
}

// runExec answers with a result for every task that it could read, whatever became of it:
// a model's error is not an error of exec.
func runExec(ctx context.Context, p *program, _ []string) error {
	p.flags.json = true // what reads its answers reads its errors
	if p.flags.repeat < 1 {
		return wrongUsage("--repeat is at least 1", "bundle-worker exec --repeat 2 < task.json")
	}
	opts := task.Options{Slots: 1, Warm: 1, Log: p.env.Stderr}
	if ahead := harness.OfExec(); ahead != nil {
		opts.Ahead, opts.Supervisor = ahead, ahead.Supervisor
	}
	r, err := p.inTurn(opts)
	if err != nil {
		return err
	}
	defer r.Close()
	x := &execution{program: p, runner: r, ask: task.Ask{Outputs: p.flags.outputs, Inputs: p.flags.inputs}, told: map[string]bool{}}
	if p.flags.stream {
		return x.stream(ctx)
	}
	data, err := io.ReadAll(io.LimitReader(p.env.Stdin, maxTask))
	if err != nil {
		return err
	}
	t, err := contracts.ParseTask(data)
	if err != nil {
		return err
	}
	return p.answer(x.answerTo(ctx, t))
}

// inTurn is what runs the tasks of exec, to be closed.
func (p *program) inTurn(opts task.Options) (*task.Runner, error) {
	c, err := p.config()
	if err != nil {
		return nil, err
	}
	if p.flags.outputs != "" {
		if err := os.MkdirAll(p.flags.outputs, 0o700); err != nil {
			return nil, (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStore, Message: "directory for outputs: " + err.Error()}).Because(err)
		}
	}
	return p.tasks(c, opts)
}

// tasks is what runs tasks, so many at once, to be closed.
func (p *program) tasks(c *config.Config, opts task.Options) (*task.Runner, error) {
	store, err := p.openCache(c)
	if err != nil {
		return nil, err
	}
	opts.Config, opts.Cache, opts.Environ = c, store, p.env.Environ
	if opts.Supervisor == nil {
		opts.Supervisor = p.supervisor()
	}
	opts.Source = func(name string) (cache.Source, error) { return p.repository(c, name) }
	opts.Storage = storageOf(c)
	return task.NewRunner(opts), nil
}

// supervisor is what runs processes.
func (p *program) supervisor() *runner.Supervisor {
	return runner.NewSupervisor(p.env.Program, runner.Grace)
}

// execution runs the tasks of exec, one after the other.
type execution struct {
	*program
	runner *task.Runner
	ask    task.Ask
	told   map[string]bool // environments that a result had in full
}

// answerTo is what becomes of a task.
func (x *execution) answerTo(ctx context.Context, t *contracts.SimTask) *contracts.SimReturn {
	if x.flags.repeat > 1 {
		return x.repeat(ctx, t)
	}
	return x.run(ctx, t)
}

func (x *execution) run(ctx context.Context, t *contracts.SimTask) *contracts.SimReturn {
	result := x.runner.Run(ctx, t, x.ask)
	if x.told[result.EnvironmentDigest] {
		result.Environment = nil
	}
	x.told[result.EnvironmentDigest] = true
	return result
}

// stream runs the tasks of stdin, one after the other, until it ends.
func (x *execution) stream(ctx context.Context) error {
	lines := readLines(ctx, x.env.Stdin)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l, more := <-lines:
			if !more || errors.Is(l.err, io.EOF) {
				return nil
			}
			if l.err != nil {
				return (&contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageCommand, Message: "stdin: " + l.err.Error()}).Because(l.err)
			}
			result := &contracts.SimReturn{Outputs: map[string]contracts.Artifact{}}
			if t, err := contracts.ParseTask(l.data); err != nil {
				result.Error = contracts.AsError(err)
			} else {
				result = x.answerTo(ctx, t)
			}
			if err := x.answer(result); err != nil {
				return err
			}
		}
	}
}

type line struct {
	data []byte
	err  error
}

// readLines reads lines until the input or ctx ends.
func readLines(ctx context.Context, in io.Reader) <-chan line {
	lines := make(chan line)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(make([]byte, 64<<10), maxTask)
		for scanner.Scan() {
			if len(scanner.Bytes()) == 0 {
				continue
			}
			select {
			case lines <- line{data: append([]byte(nil), scanner.Bytes()...)}:
			case <-ctx.Done():
				return
			}
		}
		if err := scanner.Err(); err != nil {
			select {
			case lines <- line{err: err}:
			case <-ctx.Done():
			}
		}
	}()
	return lines
}

func (p *program) answer(result *contracts.SimReturn) error {
	data, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("the result of task %s: %w", result.TaskID, err)
	}
	_, err = p.env.Stdout.Write(append(data, '\n'))
	return err
}
