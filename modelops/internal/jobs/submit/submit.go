// Package submit makes jobs: it checks everything that can be checked before anything
// is made, has the bundle pushed and tried, and only then writes the job down.
package submit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/process"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// Request is what somebody wants run.
type Request struct {
	StudyFile  string // absolute
	ProjectDir string // the project's directory; "" outside one
	ProjectPin string // the environment that it is pinned to, or ""
	// ProjectName is its repository; "" outside one, and in one of the Python suite.
	ProjectName string
	Bundle      string // a reference, to run what is there; "" to push the project
	Executor    string // "" for what the environment calls for
	Driver      string // likewise
	Options     jobs.Options
}

// Drivers are those that a cluster runs.
type Drivers interface {
	// Check finds out whether a job's driver could be made.
	Check(ctx context.Context, job *jobs.Job) error
}

// Submitter makes jobs in one environment.
type Submitter struct {
	Environment *environment.Chosen
	Home        string // the suite's
	Machine     process.Machine
	Programs    Programs
	Drivers     Drivers                          // in the environment's cluster; nil for a driver on this machine
	Note        func(format string, args ...any) // says which step begins
	Warn        func(format string, args ...any)
}

// Plan is a job that could be made: everything was checked.
type Plan struct {
	Job      *jobs.Job
	Study    *contracts.SimulationStudy
	Catalog  *jobs.Catalog
	Entry    *Entry // how the bundle is called
	Reused   int    // tasks whose results are there; -1 when that is not known
	AtOnce   int    // tasks that run at the same time
	Unpushed bool   // a dry run of a project: the bundle is not known yet

	// What a dry run tells besides.
	Last    *LastRun // nil when the study was never run
	Changes []Change
	Since   string // what the changes are against: the last run's job, else "push": the last push or pull; "" for unknown

	tagged bool   // the registry has the job's tag
	data   []byte // of the study
}

// Prepare does everything that comes before a job is made. With dry set it pushes
// nothing.
func (s *Submitter) Prepare(ctx context.Context, r Request, dry bool) (*Plan, error) {
	p := &Plan{Reused: -1}
	var err error
	if p.data, err = readStudy(r.StudyFile); err != nil {
		return nil, err
	}
	if p.Study, err = contracts.ParseStudy(r.StudyFile, p.data); err != nil {
		return nil, err
	}
	for _, warning := range p.Study.Warnings {
		s.Warn("study %s: %s %s", contracts.Quote(r.StudyFile), warning.Field, warning.Message)
	}
	r.Executor, r.Driver = Places(s.Environment.Env, r.Executor, r.Driver)
	if err := s.checkPlaces(&r, p.Study); err != nil {
		return nil, err
	}
	store, err := jobs.Storage(s.Environment.Env, s.Home)
	if err != nil {
		return nil, err
	}
	if err := probe(ctx, store); err != nil {
		return nil, err
	}
	p.Catalog = jobs.Open(store, nil)
	if err := s.Programs.check(ctx); err != nil {
		return nil, err
	}
	p.Job = s.describe(r, p)
	if s.Drivers != nil {
		if err := s.Drivers.Check(ctx, p.Job); err != nil {
			return nil, err
		}
	}
	if err := s.size(p); err != nil {
		return nil, err
	}
	if err := s.bundle(ctx, r, p, dry); err != nil {
		s.release(ctx, p)
		return nil, err
	}
	if dry {
		err = s.compare(ctx, r, p)
	}
	return p, err
}

// maxStudy bounds what is read of a study: a million parameter sets fit many times.
const maxStudy = 2 << 30

func readStudy(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && info.IsDir() {
		err = errors.New("is a directory")
	}
	if err == nil && info.Size() > maxStudy {
		err = errors.New("is larger than 2 GiB")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, (&contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageStudy,
			Message: "there is no study " + contracts.Quote(file), Hint: "write one: mops study grid, mops study random or mops study from-csv"}).Because(err)
	case err != nil:
		return nil, (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStudy, Message: "study " + contracts.Quote(file) + ": " + reason(err)}).Because(err)
	}
	return data, nil
}

func reason(err error) string {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// Places are where tasks and driver run in an environment, by what is asked, "" for
// nothing. A driver whose tasks run elsewhere runs in the cluster, where there is one: a
// laptop that is closed must not stop the job.
func Places(env *contracts.BundleEnvironment, executor, driver string) (string, string) {
	scheduler := env.Compute != nil && env.Compute.Scheduler != ""
	cluster := env.Compute != nil && env.Compute.Kubernetes != nil
	if executor == "" {
		executor = jobs.Process
		if scheduler || cluster && driver != jobs.Here {
			executor = jobs.Dask
		}
	}
	if driver == "" {
		driver = jobs.Here
		if cluster && executor == jobs.Dask {
			driver = jobs.InCluster
		}
	}
	return executor, driver
}

// checkPlaces says why tasks or driver cannot run where they are to run.
func (s *Submitter) checkPlaces(r *Request, study *contracts.SimulationStudy) error {
	unsupported := func(message, hint string) error {
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit, Message: message, Hint: hint}
	}
	env := s.Environment.Env
	scheduler := env.Compute != nil && env.Compute.Scheduler != ""
	cluster := env.Compute != nil && env.Compute.Kubernetes != nil
	inside := r.Driver == jobs.InCluster // where the mounted environment file names the scheduler
	switch {
	case inside && !cluster:
		return unsupported("environment "+env.Environment+" names no Kubernetes cluster", "one is named in the environment file, compute: {provider: dask, kubernetes: {namespace: modelops-dask-"+env.Environment+"}}; or run the driver on this machine: --driver local")
	case inside && (env.Storage == nil || env.Storage.Provider == "fs"):
		return unsupported("environment "+env.Environment+" has no storage that a cluster reaches", "name some in the environment file, or run the driver on this machine: --driver local")
	case r.Executor == jobs.Dask && !scheduler && !inside:
		hint := "mops infra up --with-dask starts one on this machine; one elsewhere is named in the environment file, compute: {provider: dask, scheduler: tls://host:8786}; or run the tasks on this machine: --executor process"
		if cluster {
			hint = "that of the cluster is for drivers there: --driver kubernetes; " + hint
		}
		return unsupported("environment "+env.Environment+" names no Dask scheduler", hint)
	case r.Executor == jobs.Dask && env.Storage == nil:
		return unsupported("environment "+env.Environment+" has no storage, which the workers of a cluster put their results into", "name some in the environment file, or run the tasks on this machine: --executor process")
	case study.TaskCount() == 0:
		return &contracts.Error{Code: contracts.CodeInvalidStudy, Stage: contracts.StageStudy,
			Message: "study " + contracts.Quote(r.StudyFile) + " has no parameter sets", Hint: "a study of nothing but defaults has one empty set: {\"params\": {}}"}
	}
	if r.Executor == jobs.Dask || inside {
		return nil
	}
	return process.Supported()
}

// probe finds out whether the storage takes and gives back.
func probe(ctx context.Context, store blobstore.Store) error {
	key := "jobs/probe-" + strings.ToLower(rand.Text())
	if err := store.Create(ctx, key, []byte("probe\n")); err != nil {
		return err
	}
	_, err := blobstore.Read(ctx, store, key, 100)
	return errors.Join(err, store.Delete(ctx, key))
}

// describe is the job as far as it is known before the bundle is.
func (s *Submitter) describe(r Request, p *Plan) *jobs.Job {
	tasks := p.Study.TaskCount()
	if limit := r.Options.Limit; limit > 0 {
		tasks = min(tasks, limit)
	}
	return &jobs.Job{
		ID: jobs.NewID(),
		Study: jobs.Study{
			File: filepath.Base(r.StudyFile), Digest: contracts.DigestOf(p.data).String(),
			Model: p.Study.Model, Scenario: p.Study.Scenario, Sets: len(p.Study.ParameterSets), Replicates: p.Study.Replicates,
		},
		Project:     r.ProjectDir,
		Environment: s.Environment.Name,
		Executor:    r.Executor,
		Driver:      r.Driver,
		Tasks:       tasks,
		Evaluations: jobs.CountEvaluations(p.Study, tasks),
		Resources:   (&contracts.Resources{Timeout: r.Options.Timeout}).Over(p.Study.Resources),
		Options:     r.Options,
		Versions:    map[string]string{"contract": contracts.ContractVersion, "mops": version(), "bundle-worker": s.Programs.workerVersion},
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// bundle pushes the project, or finds the bundle that was named, and has the worker
// fetch it.
func (s *Submitter) bundle(ctx context.Context, r Request, p *Plan, dry bool) error {
	var err error
	switch {
	case r.Bundle != "":
		p.Job.Bundle, err = s.Programs.resolve(ctx, s.Environment, r.Bundle, r.ProjectDir)
	case dry:
		p.Unpushed = true
		p.Since = "push"
		p.Job.Content, p.Changes, err = s.Programs.status(ctx, s.Environment, r.ProjectDir)
		if err == nil && p.Job.Content != "" {
			p.Reused, err = s.reused(ctx, p)
		}
		return err
	default:
		s.Note("pushing project %s", contracts.Quote(r.ProjectDir))
		p.Job.Bundle, err = s.Programs.push(ctx, s.Environment, r.ProjectDir, p.Job.ID)
		p.tagged = err == nil
	}
	if err != nil {
		return err
	}
	s.Note("bundle %s", p.Job.Bundle)
	asked := p.Job.Resources
	if !p.here() {
		asked.Commands = nil // that this machine lacks one says nothing of the cluster's
	}
	local, err := s.Programs.ensureLocal(ctx, s.Environment, p.Job.Bundle, asked)
	if err != nil {
		return err
	}
	p.Job.Content, p.Entry, p.Job.Resources = local.Content, local.Entry, local.Resources
	s.checkStudy(r, local)
	if err := p.checkEntry(); err != nil {
		return err
	}
	if err := s.size(p); err != nil {
		return err
	}
	if p.Reused, err = s.reused(ctx, p); err != nil || dry || p.tagged {
		return err
	}
	return s.keep(ctx, p)
}

// checkStudy warns of a study that is among the files that its results are keyed by.
func (s *Submitter) checkStudy(r Request, l local) {
	file, err := filepath.Rel(r.ProjectDir, r.StudyFile)
	if r.Bundle != "" || err != nil || !filepath.IsLocal(file) || l.Path == "" {
		return
	}
	if _, err := os.Lstat(filepath.Join(l.Path, file)); err == nil {
		s.Warn("study %s is in the bundle, so that results are not reused once it changes (leave it out: a line /%s in .modelopsignore)",
			contracts.Quote(r.StudyFile), filepath.ToSlash(file))
	}
}

// checkEntry holds the study against how the bundle is called.
func (p *Plan) checkEntry() error {
	if p.Entry == nil {
		return &contracts.Error{Code: contracts.CodeWireMissing, Stage: contracts.StageSubmit,
			Message: "bundle " + p.Job.Bundle.String() + " does not say how its simulation is called",
			Hint:    `add wire.py with a function wire(entrypoint, params, seed), or .modelops/manifest.json with {"wire": "module:function"} or {"command": [...]}`}
	}
	if p.Entry.Kind != "command" {
		return p.Study.CheckPython()
	}
	if len(p.Study.Targets) > 0 {
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
			Message: "the study has targets, and bundle " + p.Job.Bundle.String() + " is a command: a target is a function in Python, called beside the bundle's wire",
			Hint:    "leave targets out of the study and compare its tables, or give the bundle a wire in Python"}
	}
	return nil
}

// here says whether the tasks run on this machine.
func (p *Plan) here() bool { return p.Job.Executor == jobs.Process && p.Job.Driver == jobs.Here }

// size decides how many tasks run at once on this machine, by what is known of what each
// needs. A cluster's driver finds that out.
func (s *Submitter) size(p *Plan) error {
	if !p.here() {
		return nil
	}
	if err := s.Machine.Check(p.Job.Resources); err != nil {
		return err
	}
	p.AtOnce = s.Machine.Processes(p.Job)
	if fit := s.Machine.AtOnce(p.Job.Resources); p.AtOnce > fit {
		s.Warn("--jobs %d: by their cores and memory, this machine fits %s at once", p.AtOnce, contracts.Count(fit, "task", "tasks"))
	}
	return nil
}

// reused counts the tasks whose results are there already.
func (s *Submitter) reused(ctx context.Context, p *Plan) (int, error) {
	if p.Job.Options.NoCache {
		return 0, nil
	}
	index, err := p.Catalog.Results(p.Job).Index(ctx, archive.Option{})
	if err != nil || index.Len() == 0 {
		return 0, err
	}
	n := 0
	for task := range p.Job.SimTasks(p.Study) {
		if _, there := index.Find(task.Key(p.Job.Content)); there {
			n++
		}
	}
	return n, nil
}

// Submit writes the job down. It is Submitted then, by the transition that is returned, and
// waits for a driver.
func (s *Submitter) Submit(ctx context.Context, p *Plan) (start jobs.Transition, err error) {
	if err := p.Catalog.Create(ctx, p.Job, p.data); err != nil {
		if errors.Is(err, blobstore.ErrExists) {
			return start, fmt.Errorf("job %s was made by somebody else in this moment; submit again: %w", p.Job.ID, err)
		}
		s.release(ctx, p)
		if err := p.Catalog.Remove(context.WithoutCancel(ctx), p.Job.ID); err != nil {
			s.Warn("what was written of job %s stays in the storage: %v", p.Job.ID, err)
		}
		return start, err
	}
	err = jobs.LocalIn(s.Home).Remember(p.Job)
	if err == nil {
		start, err = p.Catalog.Move(ctx, p.Job.ID, jobs.Submission(p.Job.Driver, ""))
	}
	if err != nil {
		s.Warn("job %s was made, and nobody drives it (start it: mops jobs resume %s; remove it: mops jobs rm %s)", p.Job.ID, p.Job.ID, p.Job.ID)
	}
	return start, err
}
