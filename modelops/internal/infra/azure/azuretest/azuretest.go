// Package azuretest lets tests use the stand-in for Azure: it builds the plugin, and
// looks into and spoils the cloud behind it.
package azuretest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Subscription is one that the stand-in knows.
const Subscription = "11111111-2222-4333-8444-555555555555"

// Build makes the plugin, once for all the tests of a program, in a directory.
func Build(dir string) (plugin string, err error) {
	_, here, _, _ := runtime.Caller(0)
	plugin = filepath.Join(dir, "pulumi-resource-azure-native")
	build := exec.Command("go", "build", "-o", plugin, ".")
	build.Dir = filepath.Join(filepath.Dir(here), "..", "standin")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(err.Error() + "\n" + string(out))
	}
	return plugin, nil
}

// Cloud is an Azure of its own.
type Cloud struct{ Plugins string } // the directory that holds the plugin

// New is an empty cloud in a directory, with the plugin in it.
func New(dir, plugin string) (Cloud, error) {
	c := Cloud{Plugins: dir}
	if err := os.MkdirAll(c.path(""), 0o700); err != nil {
		return c, err
	}
	return c, os.Link(plugin, filepath.Join(dir, filepath.Base(plugin)))
}

func (c Cloud) path(name string) string { return filepath.Join(c.Plugins, "cloud", name) }

// Resource is one that there is.
type Resource struct {
	ID     string         `json:"id"`
	Type   string         `json:"type"`
	Inputs map[string]any `json:"inputs"`
	Keys   []string       `json:"keys,omitempty"`
	Self   string         `json:"self,omitempty"`
}

// record is the stand-in's file.
type record struct {
	Resources map[string]Resource        `json:"resources"`
	Journal   []struct{ Did, ID string } `json:"journal"`
}

func (c Cloud) record(t testing.TB) record {
	t.Helper()
	r := record{Resources: map[string]Resource{}}
	data, err := os.ReadFile(c.path("cloud.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Resources are all that there are, by lower-case ID.
func (c Cloud) Resources(t testing.TB) map[string]Resource {
	t.Helper()
	return c.record(t).Resources
}

// Set replaces what there is, as somebody else would.
func (c Cloud) Set(t testing.TB, all map[string]Resource) {
	t.Helper()
	r := c.record(t)
	r.Resources = all
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("cloud.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Canaries are all secrets that the cloud ever made.
func (c Cloud) Canaries(t testing.TB) []string {
	t.Helper()
	var keys []string
	for _, r := range c.Resources(t) {
		keys = append(keys, r.Keys...)
	}
	return keys
}

// Types are the types of what there is, sorted, without the plugin's name.
func (c Cloud) Types(t testing.TB) []string {
	t.Helper()
	types := []string{}
	for _, r := range c.Resources(t) {
		types = append(types, strings.TrimPrefix(r.Type, "azure-native:"))
	}
	slices.Sort(types)
	return types
}

// Fault is one thing that goes wrong; its fields are those of the stand-in's.
type Fault struct {
	Type      string `json:"type"`
	Operation string `json:"operation"`
	Do        string `json:"do"`
	After     bool   `json:"after,omitempty"`
	Status    int    `json:"status,omitempty"`
	Code      string `json:"code,omitempty"`
	Message   string `json:"message,omitempty"`
	Times     int    `json:"times,omitempty"`
}

// Spoil sets what goes wrong from now on.
func (c Cloud) Spoil(t testing.TB, faults ...Fault) {
	t.Helper()
	data, err := json.Marshal(faults)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("faults.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Unmet says whether a fault waits still.
func (c Cloud) Unmet(t testing.TB) bool {
	t.Helper()
	data, err := os.ReadFile(c.path("faults.json"))
	return err == nil && string(bytes.TrimSpace(data)) != "[]" && string(bytes.TrimSpace(data)) != "null"
}

// Paused are the processes around an operation that waits.
type Paused struct{ Plugin, Engine int }

// longest bounds the wait for an operation: a cluster's come after those of the data.
const longest = 5 * time.Minute

// AwaitPause waits until an operation waits; false when done is closed first.
func (c Cloud) AwaitPause(t testing.TB, done <-chan struct{}) (Paused, bool) {
	t.Helper()
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(longest)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(c.path("paused")); err == nil {
			var p Paused
			if err := json.Unmarshal(data, &p); err != nil {
				t.Fatal(err)
			}
			return p, true
		}
		select {
		case <-tick.C:
		case <-done:
			return Paused{}, false
		case <-deadline:
			t.Fatal("nothing paused within " + longest.String())
		}
	}
}

// Resume lets what waits go on, or forgets that it did when it was killed.
func (c Cloud) Resume(t testing.TB) {
	t.Helper()
	if err := os.Remove(c.path("paused")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// Did are the IDs of what was made ("create"), changed or deleted, in order.
func (c Cloud) Did(t testing.TB, operation string) []string {
	t.Helper()
	var ids []string
	for _, entry := range c.record(t).Journal {
		if entry.Did == operation {
			ids = append(ids, entry.ID)
		}
	}
	return ids
}
