package jobs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/storage"
)

// Local is what this machine knows of the jobs that were submitted or driven here:
// below jobs/<id> of the suite's home. Nothing of it is needed to follow a job from
// elsewhere.
type Local struct{ home string }

// LocalIn is the local side in the suite's home.
func LocalIn(home string) Local { return Local{home} }

// Dir is a job's directory.
func (l Local) Dir(id string) string { return filepath.Join(l.home, "jobs", id) }

// LogFile is where the job's driver writes its log.
func (l Local) LogFile(id string) string { return filepath.Join(l.Dir(id), "driver.log") }

// Record says which environment a job is in, so that its identifier is enough to find it.
type Record struct {
	ID          string `json:"job_id"`
	Environment string `json:"environment"`
	Created     string `json:"created"`
}

func (l Local) recordFile(id string) string { return filepath.Join(l.Dir(id), "record.json") }

// Remember writes the record of a job, and makes its directory.
func (l Local) Remember(job *Job) error {
	if err := os.MkdirAll(l.Dir(job.ID), 0o700); err != nil {
		return localError(err)
	}
	data, err := json.Marshal(Record{job.ID, job.Environment, job.Created})
	if err != nil {
		return err
	}
	return localError(atomicfile.Write(l.recordFile(job.ID), append(data, '\n'), 0o600))
}

// Records are the records on this machine, in no order.
func (l Local) Records() ([]Record, error) {
	entries, err := os.ReadDir(filepath.Join(l.home, "jobs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, localError(err)
	}
	var records []Record
	for _, entry := range entries {
		if ValidateID(entry.Name()) != nil {
			continue
		}
		data, err := os.ReadFile(l.recordFile(entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, localError(err)
		}
		var r Record
		if json.Unmarshal(data, &r) == nil && r.ID == entry.Name() {
			records = append(records, r)
		}
	}
	return records, nil
}

// Forget removes a job's directory.
func (l Local) Forget(id string) error { return localError(os.RemoveAll(l.Dir(id))) }

func (l Local) lockFile(id string) string { return filepath.Join(l.Dir(id), "driver.lock") }

func (l Local) tokenFile(id string) string { return filepath.Join(l.Dir(id), "driver.token") }

// Lock makes this process the only one on this machine that drives the job, and notes
// the token by which its transitions are known. The system gives the lock back when the
// process ends, however it does. The error is a [contracts.Error] with
// [contracts.CodeConflict] while another one has it.
func (l Local) Lock(id, token string) (unlock func(), err error) {
	if err := os.MkdirAll(l.Dir(id), 0o700); err != nil {
		return nil, localError(err)
	}
	lock := flock.New(l.lockFile(id))
	held, err := lock.TryLock()
	if err != nil {
		return nil, localError(err)
	}
	if !held {
		return nil, &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
			Message: "job " + id + " is being driven by another process on this machine", Hint: "follow it: mops jobs status " + id}
	}
	unlock = func() { _ = lock.Unlock() }
	if err := atomicfile.Write(l.tokenFile(id), []byte(token), 0o600); err != nil {
		unlock()
		return nil, localError(err)
	}
	return unlock, nil
}

// Alive is a [Liveness]: it asks the system whether a process holds the job's lock. A
// driver whose token was not noted here is another machine's, or another home's.
func (l Local) Alive(id, token string) (alive, known bool) {
	if token != "" {
		if noted, err := os.ReadFile(l.tokenFile(id)); err != nil || string(noted) != token {
			return false, false
		}
	}
	if _, err := os.Stat(l.lockFile(id)); err != nil {
		return false, errors.Is(err, fs.ErrNotExist) && l.remembers(id)
	}
	lock := flock.New(l.lockFile(id))
	held, err := lock.TryRLock()
	if err != nil {
		return false, false
	}
	if held {
		_ = lock.Unlock()
	}
	return !held, true
}

func (l Local) remembers(id string) bool {
	_, err := os.Stat(l.recordFile(id))
	return err == nil
}

func localError(err error) error {
	if err == nil {
		return nil
	}
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageSubmit, Message: err.Error()}).Because(err)
}

// Storage is where the jobs of an environment are: its storage, or, when it has none, a
// directory in the suite's home on this machine.
func Storage(env *contracts.BundleEnvironment, home string) (blobstore.Store, error) {
	if env.Storage == nil {
		return blobstore.OpenDir(filepath.Join(home, "store"), "")
	}
	return storage.Open(env)
}
