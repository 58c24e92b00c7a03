//go:build unix

package serve

import "sync"

// The ways in which the door answers.
const (
	open = ""
	full = "full"
	shut = "draining"
)

// door lets so many in at a time, until it is closed.
type door struct {
	limit int

	mu    sync.Mutex
	in    int
	shut  bool
	empty chan struct{} // closed when it is closed and nobody is in
}

func newDoor(limit int) *door { return &door{limit: limit, empty: make(chan struct{})} }

// enter is open when the caller is in, to leave again, and else says why not.
func (d *door) enter() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.shut:
		return shut
	case d.in >= d.limit:
		return full
	}
	d.in++
	return open
}

func (d *door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in--
	if d.shut && d.in == 0 {
		close(d.empty)
	}
}

// close lets nobody in any more. The channel is closed when all are out.
func (d *door) close() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	if d.in == 0 {
		close(d.empty)
	}
	return d.empty
}

func (d *door) closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shut
}
