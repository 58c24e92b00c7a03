package bundle

import (
	"os"
	"sync"
	"testing"
)

// tally adds up what it is told.
type tally struct {
	mu                     sync.Mutex
	planned, done, skipped struct {
		files int
		bytes int64
	}
}

func (c *tally) Plan(files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.planned.files, c.planned.bytes = c.planned.files+files, c.planned.bytes+bytes
}

func (c *tally) Done(files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.files, c.done.bytes = c.done.files+files, c.done.bytes+bytes
}

func (c *tally) Skip(files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped.files, c.skipped.bytes = c.skipped.files+files, c.skipped.bytes+bytes
}

func TestProgress(t *testing.T) {
	dir := sample().write(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sources, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	blobs, built, extracted := newMemory(), &tally{}, &tally{}
	x, err := Builder{Sink: blobs.sink, Progress: built}.Build(t.Context(), root, sources)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := x.ExtractFiles(t.Context(), out, blobs, ExtractOptions{Progress: extracted}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*tally{"build": built, "extract": extracted} {
		if c.planned.files != len(x.Files) || c.planned.bytes != x.Size() {
			t.Errorf("%s: planned %+v of %d files and %d bytes", name, c.planned, len(x.Files), x.Size())
		}
		if c.done.files+c.skipped.files != c.planned.files || c.done.bytes+c.skipped.bytes != c.planned.bytes {
			t.Errorf("%s: planned %+v, done %+v, skipped %+v", name, c.planned, c.done, c.skipped)
		}
	}
}
