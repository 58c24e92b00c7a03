// Package jobs is what a job is, and how its state is kept.
//
// A job is one study against one bundle. It lives in the storage of its environment,
// where any machine that has the environment can follow it:
//
//	jobs/<id>/study.json      the study, as it was submitted
//	jobs/<id>/job.json        what the job is; written last of the two, never changed
//	jobs/<id>/state/<number>  transitions, from 0001, each created once
//	jobs/<id>/progress.json   what the driver last counted; written over
//	jobs/<id>/failures/       an archive of what failed, per attempt
//	jobs/<id>/driver.log      the driver's log, once it ended
//
// Results are not the job's: they lie under the digest of the content that made them,
// see package archive, and later jobs reuse them.
//
// The state of a job is its last transition. A transition is a create-only object, so
// of two that are made at once exactly one takes place, and a driver that was given up
// for lost finds, whenever it comes back, that the job has moved on without it.
package jobs

import (
	"crypto/rand"
	"encoding/hex"
	"iter"
	"regexp"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Job is job.json.
type Job struct {
	Format      int                 `json:"format"` // 1
	ID          string              `json:"job_id"`
	Study       Study               `json:"study"`
	Bundle      contracts.BundleRef `json:"bundle"`
	Content     contracts.Digest    `json:"content_digest"`
	Project     string              `json:"project,omitempty"` // its directory on the machine that submitted
	Environment string              `json:"environment"`
	Executor    string              `json:"executor"`              // where tasks run: process or dask
	Driver      string              `json:"driver"`                // where the driver runs: [Here] or [InCluster]
	Tasks       int                 `json:"tasks"`                 // rows of the study, duplicates included
	Evaluations int                 `json:"evaluations,omitempty"` // of targets, see [CountEvaluations]
	Resources   contracts.Resources `json:"resources,omitzero"`    // what each task needs, by study, options and bundle together
	Options     Options             `json:"options"`
	Created     string              `json:"created"` // RFC 3339, UTC
	Versions    map[string]string   `json:"versions"`
}

// Study says what study.json is without reading all of it.
type Study struct {
	File       string `json:"file"` // as it was named
	Digest     string `json:"digest"`
	Model      string `json:"model"`
	Scenario   string `json:"scenario"`
	Sets       int    `json:"parameter_sets"`
	Replicates int    `json:"n_replicates"`
}

// Options are how the job is to be run.
type Options struct {
	Limit      int    `json:"limit,omitempty"`     // run the first so many tasks; 0 for all
	Processes  int    `json:"processes,omitempty"` // 0 for as many as fit
	NoCache    bool   `json:"no_cache,omitempty"`  // run also what an earlier job ran
	KeepGoing  bool   `json:"keep_going,omitempty"`
	StopAfter  int    `json:"stop_after,omitempty"`  // so many failures alike, no success between them, end it; 0 for 20
	Timeout    string `json:"timeout,omitempty"`     // of one task; over the study's
	JobTimeout string `json:"job_timeout,omitempty"` // of an attempt at the job
}

// IDPrefix begins every job's identifier, which is also the tag of its bundle.
const IDPrefix = "job-"

var idPattern = regexp.MustCompile(`\Ajob-[0-9a-f]{8,32}\z`)

// NewID is a random identifier.
func NewID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return IDPrefix + hex.EncodeToString(b[:])
}

// ValidateID checks a whole identifier. The error is a [contracts.Error] with
// [contracts.CodeInvalidName].
func ValidateID(id string) error {
	if idPattern.MatchString(id) {
		return nil
	}
	return &contracts.Error{Code: contracts.CodeInvalidName, Stage: contracts.StageCommand,
		Message: "job " + contracts.Quote(id) + " is not a job's identifier", Hint: "it is job- and at least 8 hexadecimal digits; mops jobs list shows them"}
}

// SimTasks are the job's tasks in the study's order, made as they are asked for.
func (j *Job) SimTasks(study *contracts.SimulationStudy) iter.Seq[contracts.SimTask] {
	return func(yield func(contracts.SimTask) bool) {
		n := 0
		for task := range study.Tasks(j.Bundle) {
			if n == j.Tasks {
				return
			}
			n++
			task.Resources = &j.Resources
			if !yield(task) {
				return
			}
		}
	}
}
