package jobscript

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// mops jobs results that is killed as nothing can prevent goes on when it is run again: it
// has what was fetched, makes the very tables of one that nobody killed, and leaves nothing.
func TestResultsKilled(t *testing.T) {
	p := newPerson(t)
	p.study(600, "import hashlib\ndef wire(entrypoint, params, seed):\n    rows = ['%d,%s' % (n, hashlib.sha512(b'%d.%d' % (seed, n)).hexdigest()) for n in range(200)]\n    return {'rows': ('n,text\\n' + '\\n'.join(rows)).encode()}\n")
	p.must("jobs", "submit", "study.json", "--wait")
	p.must("jobs", "results", "latest", "--output", "whole")
	for try := 1; ; try++ {
		out := filepath.Join(p.dir, "killed")
		if !p.killResults(out) {
			t.Fatal("the tables were made before anything could be killed")
		}
		if entries, _ := filepath.Glob(filepath.Join(out, "[^.]*")); len(entries) > 0 {
			t.Errorf("half-made tables: %v", entries)
		}
		var answer struct{ Resumed int }
		if err := json.Unmarshal([]byte(p.must("jobs", "results", "latest", "--output", "killed", "--json")), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Resumed > 0 {
			t.Logf("went on from %d of 600, at try %d", answer.Resumed, try)
			break
		}
		if try == 5 { // it was killed between two writes
			t.Fatal("nothing of a run that was killed was used")
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadDir(filepath.Join(p.dir, "whole"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadDir(filepath.Join(p.dir, "killed"))
	if err != nil || len(got) != len(want) {
		t.Errorf("%v and %v: %v", want, got, err)
	}
	for _, entry := range want {
		first, err := os.ReadFile(filepath.Join(p.dir, "whole", entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(p.dir, "killed", entry.Name()))
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s differs: %v", entry.Name(), err)
		}
	}
}

// killResults begins to make the tables and kills that as soon as something was fetched, and
// says whether it came to that.
func (p *person) killResults(out string) bool {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mops"), "jobs", "results", "latest", "--output", out)
	cmd.Dir, cmd.Env = p.dir, p.environ()
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return false
		case <-ticker.C:
		}
		found, _ := filepath.Glob(filepath.Join(out, ".mops-results-job-*.tmp", "records"))
		if len(found) == 0 {
			continue
		}
		if info, err := os.Stat(found[0]); err == nil && info.Size() > 0 {
			_ = cmd.Process.Kill()
			<-ended
			return true
		}
	}
}
