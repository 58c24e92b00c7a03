// Package localdask is a Dask cluster on this machine: a scheduler and workers that listen
// on the loopback, kept alive by a [daemon.Daemon] called dask. They speak TLS, with each
// other and with clients, and serve nobody who has not the cluster's certificate: the
// loopback is open to every user of the machine, and who reaches a scheduler runs code as
// its owner.
//
// It runs jobs by the very path that a cluster elsewhere does. Beside the daemon's files,
// its directory has
//
//	cluster.json  what was asked for, and the ports, which are used again
//	tls.pem       the certificate, its key and its authority, renewed while the cluster runs
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
	TLS       bool   `json:"tls"`                 // false for one that an earlier program started
}

func (c *Cluster) specPath() string        { return filepath.Join(c.Dir, "cluster.json") }
func (c *Cluster) certificatePath() string { return filepath.Join(c.Dir, "tls.pem") }

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

// Ask says what is to run from now on. A cluster that consists of something else, or that
// does without TLS, is stopped.
func (c *Cluster) Ask(ctx context.Context, want Spec) error {
	before, err := c.Spec()
	if err != nil {
		before = nil // it is written anew
	}
	want.TLS = true
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
func (c *Cluster) Compute(s *Spec) *contracts.Compute {
	compute := &contracts.Compute{
		Provider: "dask", Scheduler: fmt.Sprintf("tcp://127.0.0.1:%d", s.Scheduler), Dashboard: fmt.Sprintf("http://127.0.0.1:%d/info", s.Dashboard),
	}
	if file := c.certificatePath(); s.TLS {
		compute.Scheduler = fmt.Sprintf("tls://127.0.0.1:%d", s.Scheduler)
		compute.TLS = &contracts.ComputeTLS{CAFile: file, CertFile: file, KeyFile: file}
	}
	return compute
}

// failed is the envelope for a step that the system refused.
func failed(step string, err error) error { return daemon.Failed(title, step, err) }
