package submit

import (
	"context"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// A job keeps its bundle by a tag of its own: registries may delete what has none.

// keep tags a bundle that was named by reference. In a registry that one may only pull
// from, the job runs all the same.
func (s *Submitter) keep(ctx context.Context, p *Plan) error {
	err := s.Programs.tag(ctx, s.Environment, p.Job.Bundle, p.Job.ID)
	if err == nil {
		p.tagged = true
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	switch contracts.AsError(err).Code {
	case contracts.CodeDenied, contracts.CodeUnauthenticated, contracts.CodeUnsupported, contracts.CodeFailed:
		s.Warn("bundle %s is not kept for the job's sake: %s; the job can be resumed for as long as the registry has it", p.Job.Bundle, contracts.AsError(err).Message)
		return nil
	}
	return err
}

// release takes back the tag of a job that was not made, and says so when it cannot.
func (s *Submitter) release(ctx context.Context, p *Plan) {
	if !p.tagged {
		return
	}
	p.tagged = false
	if err := s.Programs.Release(ctx, s.Environment, p.Job); err != nil {
		s.Warn("%s", NotReleased(p.Job, err))
	}
}

// NotReleased says in words that the tag of a job that is no more stays.
func NotReleased(job *jobs.Job, err error) string {
	return "tag " + job.ID + " of " + job.Bundle.Repository + " stays in the registry: " + contracts.AsError(err).Message +
		" (remove it: modelops-bundle untag " + jobTag(job) + " --env " + job.Environment + ")"
}

func jobTag(job *jobs.Job) string { return job.Bundle.Repository + ":" + job.ID }

// releaseTime bounds what is waited for a registry that may be gone for good.
const releaseTime = 30 * time.Second

// Release removes the tag by which a job keeps its bundle, also when ctx has ended. That
// there is none is no error.
func (p *Programs) Release(ctx context.Context, env *environment.Chosen, job *jobs.Job) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer stop()
	err := p.run(ctx, p.Home, new(struct{}), p.Bundle, "untag", jobTag(job), "--json", "--quiet", "--env", env.Name)
	return contracts.Except(err, contracts.CodeBundleNotFound)
}

// tag points a tag to a bundle that is in the registry.
func (p *Programs) tag(ctx context.Context, env *environment.Chosen, ref contracts.BundleRef, tag string) error {
	return p.run(ctx, p.Home, new(struct{}), p.Bundle, "tag", ref.String(), tag, "--json", "--quiet", "--env", env.Name)
}
