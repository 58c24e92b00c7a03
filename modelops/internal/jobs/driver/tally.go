package driver

import (
	"encoding/hex"
	"slices"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// status is what is known of a task in this attempt.
type status uint8

const (
	waiting status = iota
	claimed        // about to be handed to the executor
	running
	succeeded
	failed
)

// entry is a task: how it is, and how many rows of the study it stands for.
type entry struct {
	rows   int32
	status status
}

// tally counts the rows of a job. A task that the study has several times is one entry
// with several rows.
type tally struct {
	mu      sync.Mutex
	counts  jobs.Counts
	entries map[[32]byte]entry
	faults  []jobs.Faults
	alike   map[string]int // index in faults by signature
	streak  streak
	first   int // index in faults of the kind that is to be shown first
}

// maxFaults bounds how many kinds of failures are told apart.
const maxFaults = 100

func newTally() *tally {
	return &tally{entries: map[[32]byte]entry{}, alike: map[string]int{}, streak: streak{}}
}

func binaryKey(key string) (b [32]byte) {
	_, _ = hex.Decode(b[:], []byte(key))
	return b
}

// plan takes a row in; known says that its task has a result already, cached that an
// earlier job made it.
func (t *tally) plan(key string, known, cached bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[binaryKey(key)]
	e.rows++
	t.counts.Total++
	if !known {
		t.counts.Pending++
	} else {
		e.status = succeeded
		t.counts.Succeeded++
		if cached {
			t.counts.Cached++
		}
	}
	t.entries[binaryKey(key)] = e
}

// planned says whether the task was taken in.
func (t *tally) planned(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.entries[binaryKey(key)]
	return there
}

// claim is false for a task that somebody has dealt with.
func (t *tally) claim(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[binaryKey(key)]
	if e.status != waiting {
		return false
	}
	e.status = claimed
	t.entries[binaryKey(key)] = e
	return true
}

// start counts a claimed task as running.
func (t *tally) start(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(key)
}

func (t *tally) begin(key string) entry {
	e := t.entries[binaryKey(key)]
	if e.status == claimed {
		e.status = running
		t.entries[binaryKey(key)] = e
		t.counts.Pending -= int(e.rows)
		t.counts.Running += int(e.rows)
	}
	return e
}

// done takes in what became of a task, once that is durable. kind is true when the
// failure is the first of its kind.
func (t *tally) done(key string, failure *contracts.Error) (kind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.begin(key) // the answer may be faster than the word that it began
	if e.status != running {
		return false
	}
	t.counts.Running -= int(e.rows)
	if failure == nil {
		e.status = succeeded
		t.counts.Succeeded += int(e.rows)
	} else {
		e.status = failed
		t.counts.Failed += int(e.rows)
		kind = t.fault(key, int(e.rows), failure)
	}
	t.entries[binaryKey(key)] = e
	return kind
}

func (t *tally) fault(key string, rows int, failure *contracts.Error) (kind bool) {
	signature := jobs.Signature(failure)
	i, there := t.alike[signature]
	if !there {
		if len(t.faults) == maxFaults {
			return false
		}
		i = len(t.faults)
		t.alike[signature] = i
		t.faults = append(t.faults, jobs.Faults{Task: key, Error: failure})
	}
	t.faults[i].Count += rows
	return !there
}

// lead makes the failure's kind the first one.
func (t *tally) lead(key string, failure *contracts.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, there := t.alike[jobs.Signature(failure)]
	if !there { // one of more kinds than are told apart
		i = len(t.faults)
		t.faults = append(t.faults, jobs.Faults{Task: key, Count: 1, Error: failure})
	}
	t.first = i
}

// all says of several tasks whether all have results, and whether one failed.
func (t *tally) all(keys []string) (done, failure bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	done = true
	for _, key := range keys {
		status := t.entries[binaryKey(key)].status
		done = done && status == succeeded
		failure = failure || status == failed
	}
	return done, failure
}

// snapshot is the counts and failures as they are.
func (t *tally) snapshot() (jobs.Counts, []jobs.Faults) {
	t.mu.Lock()
	defer t.mu.Unlock()
	faults := slices.Clone(t.faults)
	if t.first > 0 {
		first := faults[t.first]
		faults = slices.Insert(slices.Delete(faults, t.first, t.first+1), 0, first)
	}
	return t.counts, faults
}
