package daemon

import (
	"bytes"
	"os"
	"testing"
)

// A log that has become large is begun anew under those who write to it, and the former one
// is kept.
func TestBoundLog(t *testing.T) {
	d := &Daemon{Dir: t.TempDir(), Name: "x", Title: "x"}
	log, _, err := d.openLog()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	write := func(text []byte) {
		t.Helper()
		if _, err := log.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := d.boundLog(); err != nil {
			t.Fatal(err)
		}
	}
	has := func(path string, want []byte) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes, want %d: %v", path, len(got), len(want), err)
		}
	}
	first, second := bytes.Repeat([]byte("a"), maxLog), bytes.Repeat([]byte("b"), maxLog+1)
	write(first)
	has(d.LogPath(), first)
	write([]byte("!"))
	has(d.LogPath()+".1", append(first, '!'))
	write([]byte("after"))
	has(d.LogPath(), []byte("after"))
	write(second)
	has(d.LogPath()+".1", append([]byte("after"), second...))
	has(d.LogPath(), nil)
}
