package submit

import (
	"context"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// LastRun is the newest job of the same study of the same project, and what is different
// now.
type LastRun struct {
	JobID   string              `json:"job_id"`
	State   jobs.State          `json:"state"`
	Created string              `json:"created"`
	Bundle  contracts.BundleRef `json:"bundle"`
	NewSets int                 `json:"new_parameter_sets"`     // that it did not have
	OldSets int                 `json:"removed_parameter_sets"` // that it had, and the study has no more
}

// compare holds a plan against the last run, if there was one.
func (s *Submitter) compare(ctx context.Context, r Request, p *Plan) error {
	last, err := p.last(ctx, r)
	if last == nil || err != nil {
		return err
	}
	transition, err := p.Catalog.Last(ctx, last.ID)
	if contracts.Except(err, contracts.CodeNotFound) != nil {
		return err
	}
	study, err := p.Catalog.LoadStudy(ctx, last.ID)
	if err != nil {
		return err
	}
	p.Last = &LastRun{JobID: last.ID, State: transition.State, Created: last.Created, Bundle: last.Bundle}
	p.Last.NewSets, p.Last.OldSets = setsBeyond(p.Study, study), setsBeyond(study, p.Study)
	var changes []Change
	if last.Content != p.Job.Content {
		changes, err = s.Programs.diff(ctx, s.Environment, last.Bundle, p.Job.Bundle, r.ProjectDir)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err != nil { // a dry run is to be had without the registry, or without a bundle that is gone
		s.Warn("which files changed since job %s is not known: %s", last.ID, contracts.AsError(err).Message)
		return nil
	}
	p.Changes, p.Since = changes, last.ID
	return nil
}

// last is the newest job of this study; nil when there is none.
func (p *Plan) last(ctx context.Context, r Request) (*jobs.Job, error) {
	list, err := p.Catalog.List(ctx)
	if err != nil {
		return nil, err
	}
	repository := p.Job.Bundle.Repository
	if repository == "" {
		repository = r.ProjectName
	}
	for _, job := range list {
		same := job.Bundle.Repository == repository
		if repository == "" { // a project of the Python suite has no name of its own
			same = job.Project == r.ProjectDir
		}
		if same && job.Environment == p.Job.Environment && job.Study.File == filepath.Base(r.StudyFile) {
			return job, nil
		}
	}
	return nil, nil
}

// setsBeyond is how many parameter sets a study has that another has not.
func setsBeyond(study, other *contracts.SimulationStudy) int {
	known := make(map[string]bool, len(other.ParameterSets))
	for _, set := range other.ParameterSets {
		known[set.Params.ID()] = true
	}
	n := 0
	for _, set := range study.ParameterSets {
		if id := set.Params.ID(); !known[id] {
			known[id] = true
			n++
		}
	}
	return n
}

// diff is how the files of a bundle differ from those of another, or, when that is the
// zero reference, from the project's.
func (p *Programs) diff(ctx context.Context, env *environment.Chosen, before, after contracts.BundleRef, dir string) ([]Change, error) {
	var answer struct {
		Changes []Change `json:"changes"`
	}
	args := []string{"diff", before.String()}
	if after.Repository != "" {
		args = append(args, after.String())
	}
	err := p.run(ctx, dir, &answer, p.Bundle, append(args, "--name-only", "--json", "--quiet", "--env", env.Name)...)
	return answer.Changes, err
}
