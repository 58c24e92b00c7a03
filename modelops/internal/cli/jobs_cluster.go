package cli

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// lookout asks a cluster about drivers, and not too often. The zero value knows of no
// cluster.
type lookout struct {
	jobs.Drivers       // nil when fault says why there are none
	fault        error // of finding the cluster: the storage is read all the same

	at   time.Time // of the last answer, or of its failure
	id   string    // that it was about
	seen map[string]jobs.Sighting
	err  error
}

const (
	lookTime  = 2 * time.Second  // how old an answer may be
	waitAgain = 10 * time.Second // how long a cluster that did not answer is left alone
)

// useDrivers finds the drivers of the cluster that an environment names, if it does. Where
// this program links none, the one that does takes its place, with the same command line.
func useDrivers(c *cli.Context, e *environment.Loaded) (*lookout, error) {
	o := &lookout{}
	if e.Env.Compute == nil || e.Env.Compute.Kubernetes == nil {
		return o, nil
	}
	l := linkageOf(c)
	if l.cloud == nil {
		return nil, delegate(c, l.args)
	}
	o.Drivers, o.fault = l.cloud.Drivers(c, *e.Env.Compute.Kubernetes)
	return o, nil
}

// reach is the error of a cluster that nothing can be asked of.
func (o *lookout) reach(env string) error {
	switch {
	case o.fault != nil:
		return o.fault
	case o.Drivers == nil:
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
			Message: "environment " + env + " no longer names a Kubernetes cluster", Hint: "go on on this machine: mops jobs resume JOB --driver local"}
	}
	return nil
}

// sight is what the cluster knows of a job's driver; about says of which job it is asked,
// "" for all at once.
func (o *lookout) sight(ctx context.Context, job, about string) jobs.Sighting {
	if err := o.reach(""); err != nil {
		return jobs.Unanswered(err)
	}
	age := lookTime
	if o.err != nil {
		age = waitAgain
	}
	if o.at.IsZero() || o.id != about || time.Since(o.at) >= age {
		o.seen, o.err = o.Look(ctx, about)
		o.at, o.id = time.Now(), about
	}
	if o.err != nil {
		return jobs.Unanswered(o.err)
	}
	if g, found := o.seen[job]; found {
		return g
	}
	return jobs.Sighting{Phase: jobs.Absent}
}

// judge is how a job stands, with what its cluster says of its driver. about is as for
// sight. A job whose driver failed there for good is ended.
func (l *located) judge(ctx context.Context, job *jobs.Job, about string) (*jobs.Status, error) {
	s, err := l.catalog.Status(ctx, job, l.local.Alive)
	if err != nil || s.Driver == nil || s.Driver.Place != jobs.InCluster || l.lookout == nil {
		return s, err
	}
	g := l.lookout.sight(ctx, job.ID, about)
	if g.Phase.Over() { // the driver may have ended the job between the two
		if s, err = l.catalog.Status(ctx, job, l.local.Alive); err != nil {
			return nil, err
		}
	}
	s.See(g, l.catalog.Now())
	if settled, err := l.catalog.Settle(ctx, s); err != nil || !settled {
		return s, nil // without the right to write, it is seen and not written
	}
	return l.catalog.Status(ctx, job, l.local.Alive)
}
