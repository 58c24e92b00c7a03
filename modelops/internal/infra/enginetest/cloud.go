package enginetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Cloud is a directory with resources, faults and a log of the calls that came. The
// plugin and the test share it.
type Cloud struct{ Dir string }

// Resource is one that exists.
type Resource struct {
	ID, Type, Name string         // the name is the program's for it
	Inputs         map[string]any // in plain text, as a cloud has them
}

// Call is one that reached the plugin.
type Call struct{ Op, Type, Name, ID string }

// cloudVariable tells the plugin where the cloud is.
const cloudVariable = "ENGINETEST_CLOUD"

// NewCloud is an empty one.
func NewCloud(t testing.TB) Cloud {
	t.Helper()
	c := Cloud{Dir: t.TempDir()}
	for _, dir := range []string{"resources", "faults", "met"} {
		if err := os.Mkdir(filepath.Join(c.Dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Environ is the variable that leads the plugin to the cloud.
func (c Cloud) Environ() string { return cloudVariable + "=" + c.Dir }

func (c Cloud) path(id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(c.Dir, "resources", hex.EncodeToString(sum[:8])+".json")
}

// Get is the resource of an ID; nil when there is none.
func (c Cloud) Get(id string) (*Resource, error) {
	data, err := os.ReadFile(c.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r Resource
	return &r, json.Unmarshal(data, &r)
}

// Put makes or changes a resource.
func (c Cloud) Put(r Resource) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	temporary := c.path(r.ID) + ".tmp"
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, c.path(r.ID))
}

// Remove deletes a resource; one that is not there is no error.
func (c Cloud) Remove(id string) error {
	if err := os.Remove(c.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Resources are all that exist, by ID.
func (c Cloud) Resources(t testing.TB) map[string]Resource {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.Dir, "resources", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Resource{}
	for _, path := range paths {
		var r Resource
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		all[r.ID] = r
	}
	return all
}

// log appends a call.
func (c Cloud) log(call Call) error {
	data, err := json.Marshal(call)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(c.Dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(data, '\n'))
	return err
}

// Calls are those of an operation that came so far: "create", "read", "update",
// "delete", "invoke"; of all for "".
func (c Cloud) Calls(t testing.TB, op string) []Call {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir, "calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var calls []Call
	for line := range bytes.Lines(data) {
		var call Call
		if err := json.Unmarshal(line, &call); err != nil {
			t.Fatal(err)
		}
		if op == "" || call.Op == op {
			calls = append(calls, call)
		}
	}
	return calls
}

// Action is what a fault does.
type Action string

// The actions.
const (
	Fail         Action = "fail"          // the call fails with the message
	Wait         Action = "wait"          // the call waits until the fault is lifted
	KillEngine   Action = "kill-engine"   // SIGKILL to the engine; the call then waits
	KillProvider Action = "kill-provider" // SIGKILL to the plugin itself
)

// Fault is met by one call that fits, or with Always by each.
type Fault struct {
	Op      string // empty for any
	Type    string // empty for any
	Name    string // the resource's; empty for any
	After   bool   // the effect is in the cloud already, and nobody was told
	Do      Action
	Message string
	Always  bool
}

// Injected is a fault in a cloud.
type Injected struct {
	cloud Cloud
	name  string
}

// Inject puts a fault into the cloud.
func (c Cloud) Inject(t testing.TB, f Fault) Injected {
	t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	i := Injected{cloud: c, name: fmt.Sprintf("%d.json", time.Now().UnixNano())}
	if err := os.WriteFile(filepath.Join(c.Dir, "faults", i.name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Lift)
	return i
}

// Lift ends a fault, and the waiting of those that met it.
func (i Injected) Lift() {
	for _, dir := range []string{"faults", "met"} {
		_ = os.Remove(filepath.Join(i.cloud.Dir, dir, i.name)) // where it is not, there is nothing to lift
	}
}

// Await waits until a call has met the fault.
func (i Injected) Await(t testing.TB) {
	t.Helper()
	met := func() bool { _, err := os.Stat(filepath.Join(i.cloud.Dir, "met", i.name)); return err == nil }
	if !until(time.Minute, met) {
		t.Fatal("nothing met the fault within a minute")
	}
}

// until asks every few milliseconds whether something holds, for a limited time.
func until(limit time.Duration, holds func() bool) bool {
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

// meet does what the faults that fit a call say, on the plugin's side.
func (c Cloud) meet(call Call, after bool) error {
	paths, err := filepath.Glob(filepath.Join(c.Dir, "faults", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var f Fault
		if err == nil {
			err = json.Unmarshal(data, &f)
		}
		if err != nil {
			return err
		}
		fits := f.After == after && (f.Op == "" || f.Op == call.Op) && (f.Type == "" || f.Type == call.Type) && (f.Name == "" || f.Name == call.Name)
		if !fits {
			continue
		}
		met := filepath.Join(c.Dir, "met", filepath.Base(path))
		if f.Always {
			err = os.WriteFile(met, nil, 0o644)
		} else {
			err = os.Rename(path, met) // of several calls one has it
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f.happen(met); err != nil {
			return err
		}
	}
	return nil
}

func (f Fault) happen(met string) error {
	lifted := func() bool { _, err := os.Stat(met); return err != nil }
	switch f.Do {
	case Fail:
		return errors.New(f.Message)
	case KillProvider:
		return kill(os.Getpid())
	case KillEngine:
		if err := kill(os.Getppid()); err != nil {
			return err
		}
		until(time.Minute, lifted) // nobody is there to hear of it: this process is an orphan
		return errors.New("the engine was killed")
	case Wait:
		if !until(time.Minute, lifted) {
			return errors.New("the fault was not lifted within a minute")
		}
	}
	return nil
}

func kill(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
