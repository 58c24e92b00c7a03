package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// cloud is what there is, on disk: it outlives every process that is killed.
type cloud struct{ dir string }

// contents are the resources by lower-case id.
type contents map[string]*thing

// record is the file: what there is, and what was done, which change together.
type record struct {
	Resources contents `json:"resources"`
	Journal   []entry  `json:"journal"`
}

// entry is one thing that was done.
type entry struct {
	Did string `json:"did"`
	ID  string `json:"id"`
}

// thing is one resource.
type thing struct {
	ID     string         `json:"id"`
	Type   string         `json:"type"`
	Inputs map[string]any `json:"inputs"`
	Keys   []string       `json:"keys,omitempty"` // of a storage account; the passwords of a registry; the token of a cluster's administrator
	Self   string         `json:"self,omitempty"` // the object ID of what signs in: an identity, or the nodes of a cluster
}

// failure is an error in the shape that the azure-native plugin gives to Azure's.
func failure(status int, code, message string, args ...any) error {
	return fmt.Errorf("Status=%d Code=%q Message=%q", status, code, fmt.Sprintf(message, args...))
}

// locked runs f with the directory to itself.
func (c cloud) locked(f func() error) error {
	lock := flock.New(filepath.Join(c.dir, "lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Close()
	return f()
}

// see shows f what there is.
func (c cloud) see(f func(contents) error) error {
	return c.locked(func() error {
		r, err := c.load()
		if err != nil {
			return err
		}
		return f(r.Resources)
	})
}

// change has f change what there is, and keeps the change unless f fails. f tells did
// what it does.
func (c cloud) change(f func(all contents, did func(operation, id string)) error) error {
	return c.locked(func() error {
		r, err := c.load()
		if err != nil {
			return err
		}
		did := func(operation, id string) { r.Journal = append(r.Journal, entry{operation, id}) }
		if err := f(r.Resources, did); err != nil {
			return err
		}
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		return atomicfile.Write(filepath.Join(c.dir, "cloud.json"), data, 0o600)
	})
}

func (c cloud) load() (*record, error) {
	r := &record{Resources: contents{}}
	return r, readJSON(filepath.Join(c.dir, "cloud.json"), r)
}

// children are the ids of what lies in a resource.
func (all contents) children(id string) []string {
	var ids []string
	for key := range all {
		if strings.HasPrefix(key, strings.ToLower(id)+"/") {
			ids = append(ids, key)
		}
	}
	return ids
}

func (all contents) get(id string) *thing { return all[strings.ToLower(id)] }

// parent is the nearest resource above an id, "" for one directly in the subscription.
func parent(id string) string {
	if scope, _, found := strings.Cut(id, "/providers/Microsoft.Authorization/"); found {
		return scope
	}
	parts := strings.Split(id, "/") // "", subscriptions, S, resourceGroups, G, providers, P, type, name, …
	if len(parts) <= 5 {
		return ""
	}
	if len(parts) <= 9 {
		return strings.Join(parts[:5], "/")
	}
	above := strings.Join(parts[:len(parts)-2], "/")
	return strings.TrimSuffix(above, "/blobServices/default") // not a resource of its own until it is set
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
