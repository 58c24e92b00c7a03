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

// thing is one resource.
type thing struct {
	ID     string         `json:"id"`
	Type   string         `json:"type"`
	Inputs map[string]any `json:"inputs"`
	Keys   []string       `json:"keys,omitempty"` // of a storage account; the passwords of a registry
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
		all, err := c.load()
		if err != nil {
			return err
		}
		return f(all)
	})
}

// change has f change what there is, and keeps the change unless f fails.
func (c cloud) change(f func(contents) error) error {
	return c.see(func(all contents) error {
		if err := f(all); err != nil {
			return err
		}
		data, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		return atomicfile.Write(filepath.Join(c.dir, "cloud.json"), data, 0o600)
	})
}

func (c cloud) load() (contents, error) {
	all := contents{}
	return all, readJSON(filepath.Join(c.dir, "cloud.json"), &all)
}

// journal adds a line about what was done. The directory is locked.
func (c cloud) journal(operation, id string) error {
	file, err := os.OpenFile(filepath.Join(c.dir, "journal.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	line, err := json.Marshal(map[string]string{"did": operation, "id": id})
	if err == nil {
		_, err = file.Write(append(line, '\n'))
	}
	return errors.Join(err, file.Close())
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
