//go:build unix

package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/task"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/contracts"
)

// runWithTask runs a command with what a task has, for somebody who wants to see the task
// run: the same variables and directories, and the task in a file. The bundle in the cache
// is nobody's to change, so it works on a copy, which goes with the command unless
// something in it was changed.
func (p *program) runWithTask(ctx context.Context, r *report, ref contracts.BundleRef, args []string) error {
	c, err := p.config()
	if err != nil {
		return err
	}
	t, err := readTask(p.flags.task)
	if err != nil {
		return err
	}
	if t.Bundle != ref {
		return wrongUsage("the task in "+contracts.Quote(p.flags.task)+" is of bundle "+t.Bundle.String(), "name that one, or another task")
	}
	tasks, err := p.tasks(c, task.Options{Log: p.env.Stderr})
	if err != nil {
		return err
	}
	defer tasks.Close()
	hand, err := tasks.ByHand(ctx, t)
	if err != nil {
		return err
	}
	scratch, err := runner.NewScratch()
	if err == nil {
		err = scratch.Make()
	}
	if err != nil {
		return err
	}
	defer func() { _ = scratch.Remove() }() // a temporary directory that cannot be removed harms nothing
	set, err := taskVariables(scratch, t)
	if err != nil {
		return err
	}
	copied, err := copyBundle(hand.Bundle)
	if err != nil {
		return err
	}
	defer copied.leave(p.env.Stderr)
	r.Path = copied.dir
	if hand.Python {
		set["PYTHONPATH"] = copied.dir + string(filepath.ListSeparator) + filepath.Join(copied.dir, "src") // as a wire has it
	}
	if term := p.env.Getenv("TERM"); term != "" { // somebody may sit there
		set["TERM"] = term
	}
	p.explain(hand, copied.dir)
	return p.start(ctx, r, runner.Spec{
		Args: args[2:], Dir: copied.dir, Scratch: scratch.Dir, Env: runner.Environ(hand.Environ, hand.Cores, set),
	}, args[1])
}

// explain says how the task is run. It is what --task is for, so --quiet leaves it.
func (p *program) explain(hand *task.ByHand, dir string) {
	fmt.Fprintf(p.env.Stderr, "a copy of the bundle: %s\nthe task: $MODELOPS_TASK\nits outputs go to: $MODELOPS_OUTPUT_DIR\n", dir)
	if hand.Recipe != "" {
		fmt.Fprintf(p.env.Stderr, "run it: %s\n", contracts.Lines(hand.Recipe))
	}
}

func readTask(file string) (*contracts.SimTask, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, (&contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageCommand, Message: "task: " + err.Error()}).Because(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTask))
	if err != nil {
		return nil, err
	}
	return contracts.ParseTask(data)
}

// taskVariables makes the directories and files of a task, and are the variables that
// name them.
func taskVariables(scratch *runner.Scratch, t *contracts.SimTask) (map[string]string, error) {
	dirs, err := scratch.Task()
	if err != nil {
		return nil, err
	}
	set := dirs.Environment()
	if set["MODELOPS_TASK"], err = wire.WriteTask(dirs, t); err != nil {
		return nil, err
	}
	set["MODELOPS_HARNESS"], err = harness.Write(scratch.Dir)
	return set, err
}

// bundleCopy is a writable copy of a bundle.
type bundleCopy struct {
	dir  string
	made map[string]string // what every file was like
}

func copyBundle(bundle string) (*bundleCopy, error) {
	dir, err := os.MkdirTemp("", "modelops-bundle-")
	if err != nil {
		return nil, err
	}
	c := &bundleCopy{dir: dir}
	if err = os.CopyFS(dir, os.DirFS(bundle)); err == nil {
		err = c.date(bundle)
	}
	if err == nil {
		c.made, err = c.files()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("copy bundle %s: %w", bundle, err)
	}
	return c, nil
}

// date gives the files of the copy the times of the bundle's, so that every change of one
// changes its time.
func (c *bundleCopy) date(bundle string) error {
	return filepath.WalkDir(c.dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.dir, file)
		if err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join(bundle, name))
		if err != nil {
			return err
		}
		return os.Chtimes(file, info.ModTime(), info.ModTime())
	})
}

// files says of every file what it is like.
func (c *bundleCopy) files() (map[string]string, error) {
	files := map[string]string{}
	return files, filepath.WalkDir(c.dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			files[file] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
}

// leave removes the copy if it is as it was made, and else says that it stays.
func (c *bundleCopy) leave(log io.Writer) {
	if now, err := c.files(); err == nil && maps.Equal(now, c.made) {
		_ = os.RemoveAll(c.dir) // a temporary directory that cannot be removed harms nothing
		return
	}
	fmt.Fprintf(log, "the copy was changed and stays: %s\n", c.dir)
}
