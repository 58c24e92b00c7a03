package localregistry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
)

// title is the registry in messages.
const title = "local registry"

// Registry is the registry of one directory, whether it runs or not.
type Registry struct{ *daemon.Daemon }

// Open is the registry in the directory dir. Nothing is read or made.
func Open(dir string) *Registry {
	return &Registry{&daemon.Daemon{Dir: dir, Name: "registry", Title: title}}
}

// Host is what clients of an instance are given: localhost and the port.
func Host(i daemon.Instance) string { return fmt.Sprintf("localhost:%d", i.Port) }

func (r *Registry) data() string { return filepath.Join(r.Dir, "registry") }

// Exists says whether there is a registry, running or not.
func (r *Registry) Exists() (bool, error) {
	_, err := os.Stat(r.data())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, failed("look at "+contracts.Quote(r.data()), err)
	}
	return err == nil, nil
}

// Destroy removes all data of a registry that does not run. Killed in the middle, it
// leaves none that a later server would show.
func (r *Registry) Destroy(ctx context.Context) error {
	if _, err := os.Stat(r.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return r.Idle(ctx, func() error {
		trash := r.data() + ".destroyed." + rand.Text()
		if err := os.Rename(r.data(), trash); err != nil && !errors.Is(err, os.ErrNotExist) {
			return failed("remove "+contracts.Quote(r.data()), err)
		}
		return r.sweep()
	})
}

// sweep removes what a destruction that was interrupted left over.
func (r *Registry) sweep() error {
	left, err := filepath.Glob(r.data() + ".destroyed.*")
	if err != nil {
		return err
	}
	for _, trash := range left {
		if err := os.RemoveAll(trash); err != nil {
			return failed("remove "+contracts.Quote(trash), err)
		}
	}
	return nil
}

// failed is the envelope for a step that the system refused.
func failed(step string, err error) error { return daemon.Failed(title, step, err) }
