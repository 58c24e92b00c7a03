// Package localdask is a Dask cluster on this machine: a scheduler and workers that listen
// on the loopback, kept alive by a [daemon.Daemon] called dask.
//
// It runs jobs by the very path that a cluster elsewhere does. Beside the daemon's files,
// its directory has
//
//	cluster.json  what was asked for, and the ports, which are used again
//	work/         what workers keep while they run
package localdask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
)

const title = "local Dask cluster"

// Cluster is the cluster of one directory, whether it runs or not.
type Cluster struct{ *daemon.Daemon }

// Open is the cluster in the directory dir. Nothing is read or made.
func Open(dir string) *Cluster {
	return &Cluster{&daemon.Daemon{Dir: dir, Name: "dask", Title: title}}
}

// Spec is what a cluster consists of.
type Spec struct {
	Workers int `json:"workers"` // processes
	Threads int `json:"threads"` // of each: tasks that it runs at once
	// Memory is what the tasks of one worker may use together, in bytes; 0 for all.
	Memory    int64  `json:"memory,omitempty"`
	Python    string `json:"python"` // an interpreter that has distributed
	Scheduler int    `json:"scheduler,omitempty"`
	Dashboard int    `json:"dashboard,omitempty"` // ports on the loopback; 0 for any
}

func (c *Cluster) specPath() string { return filepath.Join(c.Dir, "cluster.json") }

// Spec is what was asked for, nil when nothing was.
func (c *Cluster) Spec() (*Spec, error) {
	data, err := os.ReadFile(c.specPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed("read "+contracts.Quote(c.specPath()), err)
	}
	s := &Spec{}
	if err := json.Unmarshal(data, s); err != nil || s.Workers < 1 || s.Threads < 1 || s.Python == "" {
		return nil, &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
			Message: contracts.Quote(c.specPath()) + " is damaged", Hint: "mops infra up --with-dask writes it anew"}
	}
	return s, nil
}

func (c *Cluster) write(s *Spec) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.specPath(), append(data, '\n'), 0o600); err != nil {
		return failed("write "+contracts.Quote(c.specPath()), err)
	}
	return nil
}

// Ask says what is to run from now on. A cluster that consists of something else is
// stopped.
func (c *Cluster) Ask(ctx context.Context, want Spec) error {
	before, err := c.Spec()
	if err != nil {
		before = nil // it is written anew
	}
	if before != nil {
		want.Scheduler, want.Dashboard = before.Scheduler, before.Dashboard
		if *before == want {
			return nil
		}
	}
	if _, err := c.Stop(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return failed("make "+contracts.Quote(c.Dir), err)
	}
	return c.write(&want)
}

// Remove stops the cluster, and forgets it.
func (c *Cluster) Remove(ctx context.Context) error {
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := c.Stop(ctx); err != nil {
		return err
	}
	return c.Idle(ctx, func() error {
		if err := os.RemoveAll(c.Dir); err != nil {
			return failed("remove "+contracts.Quote(c.Dir), err)
		}
		return nil
	})
}

// Compute is what the environment file says of the cluster.
func (s *Spec) Compute() *contracts.Compute {
	return &contracts.Compute{
		Provider: "dask", Scheduler: fmt.Sprintf("tcp://127.0.0.1:%d", s.Scheduler), Dashboard: fmt.Sprintf("http://127.0.0.1:%d/status", s.Dashboard),
	}
}

// failed is the envelope for a step that the system refused.
func failed(step string, err error) error { return daemon.Failed(title, step, err) }
