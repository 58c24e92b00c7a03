package jobs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// Catalog is the jobs in a storage.
type Catalog struct {
	By By // who is at work; the token stays empty

	store blobstore.Store
	now   func() time.Time
}

// Open is the catalog in this storage; now is the clock, nil for the system's.
func Open(store blobstore.Store, now func() time.Time) *Catalog {
	if now == nil {
		now = time.Now
	}
	host, _ := os.Hostname() // "" then: no host is taken for this one
	return &Catalog{By: By{Host: host, PID: os.Getpid()}, store: store, now: now}
}

// Store is the storage that the catalog is in.
func (c *Catalog) Store() blobstore.Store { return c.store }

// Now is the time by the catalog's clock.
func (c *Catalog) Now() time.Time { return c.now() }

func (c *Catalog) readJSON(ctx context.Context, key string, into any) error {
	data, err := blobstore.Read(ctx, c.store, key, maxObject)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return (&contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageStore,
			Message: "object " + contracts.Quote(key) + " in the storage is not what was written: " + err.Error()}).Because(err)
	}
	return nil
}

// Create writes a job down and makes it [Pending]. study is the study's bytes. The error
// wraps [blobstore.ErrExists] when there is a job of that identifier.
func (c *Catalog) Create(ctx context.Context, job *Job, study []byte) error {
	if err := ValidateID(job.ID); err != nil {
		return err
	}
	job.Format = 1
	job.Created = stamp(c.now())
	data, err := json.MarshalIndent(job, "", "  ")
	if err != nil {
		return err
	}
	for _, object := range []struct {
		name string
		data []byte
	}{{"study.json", study}, {"job.json", append(data, '\n')}} {
		if err := c.store.Create(ctx, "jobs/"+job.ID+"/"+object.name, object.data); err != nil {
			return err
		}
	}
	_, err = c.MoveFrom(ctx, job.ID, Transition{}, Transition{State: Pending})
	return err
}

// Load reads a job. One that is not there is a [contracts.Error] with
// [contracts.CodeNotFound].
func (c *Catalog) Load(ctx context.Context, id string) (*Job, error) {
	if err := ValidateID(id); err != nil {
		return nil, err
	}
	var job Job
	err := c.readJSON(ctx, "jobs/"+id+"/job.json", &job)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, NotFound(id)
	}
	if err != nil {
		return nil, err
	}
	if job.Format != 1 {
		return nil, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
			Message: "job " + id + " was made by a newer version", Hint: "use that version of mops"}
	}
	return &job, nil
}

// NotFound is the error for a job that is not there.
func NotFound(id string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageSubmit,
		Message: "there is no job " + contracts.Quote(id), Hint: "mops jobs list shows the jobs of an environment; --env names another one"}
}

// LoadStudy reads the study of a job.
func (c *Catalog) LoadStudy(ctx context.Context, id string) (*contracts.SimulationStudy, error) {
	data, err := blobstore.Read(ctx, c.store, "jobs/"+id+"/study.json", 1<<31)
	if err != nil {
		return nil, err
	}
	return contracts.ParseStudy("study.json of "+id, data)
}

// List is every job, the newest first.
func (c *Catalog) List(ctx context.Context) ([]*Job, error) {
	var list []*Job
	for entry, err := range c.store.List(ctx, "jobs/") {
		if err != nil {
			return nil, err
		}
		id, ok := strings.CutSuffix(strings.TrimPrefix(entry.Key, "jobs/"), "/job.json")
		if !ok || ValidateID(id) != nil {
			continue
		}
		job, err := c.Load(ctx, id)
		if contracts.Except(err, contracts.CodeNotFound, contracts.CodeUnsupported) != nil {
			return nil, err
		}
		if err == nil {
			list = append(list, job)
		}
	}
	slices.SortStableFunc(list, func(x, y *Job) int { return cmp.Compare(y.Created, x.Created) })
	return list, nil
}

// Remove deletes a job, not its results. It may be called again when it failed halfway.
func (c *Catalog) Remove(ctx context.Context, id string) error {
	if err := ValidateID(id); err != nil {
		return err
	}
	// What makes it a job goes first: half a job is none.
	keys := []string{"jobs/" + id + "/job.json"}
	for entry, err := range c.store.List(ctx, "jobs/"+id+"/") {
		if err != nil {
			return err
		}
		keys = append(keys, entry.Key)
	}
	for _, key := range keys {
		if err := c.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// Results is the archive of the results of the job's content.
func (c *Catalog) Results(job *Job) *archive.Archive { return archive.Results(c.store, job.Content) }

// Failures is the archive of what failed in an attempt: the number of the transition to
// [Running] that began it.
func (c *Catalog) Failures(id string, attempt int) *archive.Archive {
	return archive.At(c.store, "jobs/"+id+"/failures/"+number(attempt))
}

// Progress is progress.json: what a driver last counted, all of it durable.
type Progress struct {
	Attempt     int      `json:"attempt"` // number of its transition to Running
	Token       string   `json:"token"`   // of the driver
	Heartbeat   string   `json:"heartbeat"`
	Stopped     bool     `json:"stopped,omitempty"` // it ended, and its processes with it
	Tasks       Counts   `json:"tasks"`
	Evaluations *Counts  `json:"evaluations,omitempty"` // of a study with targets
	Errors      []Faults `json:"errors,omitempty"`
	Rate        float64  `json:"rate"` // tasks run per second since it began
	AtOnce      int      `json:"at_once,omitempty"`
	Waiting     *Wait    `json:"waiting,omitempty"`
}

// Wait is what keeps a job from going on that may pass by itself.
type Wait struct {
	For   string `json:"for"`   // what is wrong
	Until string `json:"until"` // when it is given up
}

func progressKey(id string) string { return "jobs/" + id + "/progress.json" }

// Report writes the driver's progress.
func (c *Catalog) Report(ctx context.Context, id string, p Progress) error {
	p.Heartbeat = stamp(c.now())
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.store.Put(ctx, progressKey(id), bytes.NewReader(append(data, '\n')))
}

// Progress is what a driver last reported, the zero value when none did.
func (c *Catalog) Progress(ctx context.Context, id string) (Progress, error) {
	var p Progress
	err := c.readJSON(ctx, progressKey(id), &p)
	if errors.Is(err, blobstore.ErrNotFound) {
		err = nil
	}
	return p, err
}

// PutLog keeps a copy of the driver's log where other machines can read it.
func (c *Catalog) PutLog(ctx context.Context, id string, log io.Reader) error {
	return c.store.Put(ctx, "jobs/"+id+"/driver.log", log)
}

// Log opens the copy of the driver's log; the error wraps [blobstore.ErrNotFound] while
// there is none.
func (c *Catalog) Log(ctx context.Context, id string) (io.ReadCloser, error) {
	return c.store.Get(ctx, "jobs/"+id+"/driver.log")
}
