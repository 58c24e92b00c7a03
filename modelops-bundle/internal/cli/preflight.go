package cli

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/registration"
)

// snapshot lists the files that a push pushes, after everything that could refuse them
// has looked at those very files, and with the registry's digests computed of them. When
// the push then fails, restore puts the registry back: its new digests would stand in the
// way of a pull.
func (s *session) snapshot(root *os.Root, state *project.State) (sources []bundle.Source, restore func(), err error) {
	restore = func() {}
	if sources, err = s.scan(root, state); err != nil {
		return nil, restore, err
	}
	lockErr := checkLock(s.c, root, sources)
	registry, err := s.preflight(root, sources)
	if err != nil && lockErr != nil { // all at once
		lock, e := contracts.AsError(lockErr), contracts.AsError(err)
		e.Problems = append(e.Problems, contracts.Problem{Message: lock.Message, Hint: lock.Hint})
		return nil, restore, e
	}
	if err == nil {
		err = lockErr
	}
	if err != nil || registry == nil {
		return sources, restore, err
	}
	changed, err := registry.Refresh(root, sources)
	if err != nil || !changed {
		return sources, restore, err
	}
	old, err := root.ReadFile(bundle.RegistryFile)
	if err != nil {
		return nil, restore, err
	}
	data, err := registry.Marshal()
	if err != nil {
		return nil, restore, err
	}
	file := filepath.Join(s.project.Dir, filepath.FromSlash(bundle.RegistryFile))
	if err := atomicfile.Write(file, data, 0o644); err != nil {
		return nil, restore, project.Unwritable(file, err)
	}
	restore = func() {
		if now, err := root.ReadFile(bundle.RegistryFile); err == nil && bytes.Equal(now, data) {
			_ = atomicfile.Write(file, old, 0o644) // the push's error is the one to show
		}
	}
	for i, source := range sources {
		if source.Path == bundle.RegistryFile {
			sources[i].Info, err = root.Stat(bundle.RegistryFile)
		}
	}
	return sources, restore, err
}

// preflight is the registry that is pushed, when it fits; nil when there is none.
func (s *session) preflight(root *os.Root, sources []bundle.Source) (*registration.Registry, error) {
	snapshot := registration.SnapshotOf(sources)
	if !snapshot[bundle.RegistryFile] {
		if _, err := root.Lstat(bundle.RegistryFile); err == nil {
			command.Warn(s.c, "%s exists and is not pushed (modelops-bundle add %s)", bundle.RegistryFile, bundle.RegistryFile)
		}
		return nil, nil
	}
	registry, err := registration.Read(root)
	if err != nil || registry.Empty() {
		return nil, err
	}
	warnings, err := registration.Preflight(s.c.Context, root, registry, snapshot)
	for _, warning := range warnings {
		command.Warn(s.c, "%s", warning)
	}
	return registry, err
}
