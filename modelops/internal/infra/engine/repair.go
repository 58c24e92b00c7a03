package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

// torn says whether the file of a stack's state, or one that the engine keeps beside it,
// is not whole. The engine (3.255.0) writes over them in place, so that a kill, or a loss
// of power, in that moment leaves a part.
func (e *Engine) torn(s Stack) (bool, error) {
	if !e.config.Backend.local() {
		return false, nil
	}
	for _, path := range append(e.attributes(s), e.layout.stateOf(s)) {
		if whole, err := whole(path); err != nil || !whole {
			return !whole, err
		}
	}
	return false, nil
}

// attributes are the files in which the engine says of what type its files are. It can
// do without them.
func (e *Engine) attributes(s Stack) []string {
	state := e.layout.stateOf(s)
	return []string{state + ".attrs", state + ".bak.attrs"}
}

// whole says whether a file is a document of JSON, or is not there.
func whole(path string) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return true, infra.Cannot("read", path, err)
	}
	return json.Valid(data), nil
}

// repair puts the state before the torn one back: that of the engine's last step but one,
// else that from before the update. What was made since is looked for when it is to be
// made again. The stack is held, and no engine runs on it.
func (e *Engine) repair(s Stack) error {
	torn, err := e.torn(s)
	if err != nil || !torn {
		return err
	}
	for _, path := range e.attributes(s) {
		if whole, err := whole(path); err == nil && whole {
			continue
		}
		if err := os.Remove(path); err != nil {
			return infra.Cannot("remove", path, err)
		}
	}
	if whole, err := whole(e.layout.stateOf(s)); err != nil || whole {
		return err
	}
	earlier, err := filepath.Glob(filepath.Join(e.layout.snapshots(s), "*Z.json"))
	if err != nil {
		return err
	}
	slices.Sort(earlier) // by time
	slices.Reverse(earlier)
	for _, path := range append([]string{e.layout.stateOf(s) + ".bak"}, earlier...) {
		data, err := os.ReadFile(path)
		if err != nil || !json.Valid(data) {
			continue
		}
		if err := atomicfile.Write(e.layout.stateOf(s), data, 0o600); err != nil {
			return infra.Cannot("write", e.layout.stateOf(s), err)
		}
		e.config.Note(fmt.Sprintf("the state of stack %s was being written when its engine was killed; that of one step before is put back", s.Name))
		return nil
	}
	return &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("the state of stack %s is damaged, and no earlier one is whole: %s", s.Name, contracts.Quote(e.layout.stateOf(s))),
		Hint:    "put it back from a backup"}
}

// readable makes a torn state whole before it is read. One that is being written at this
// moment, or that a killed engine has locked, is an error that says so.
func (e *Engine) readable(s Stack) error {
	torn, err := e.torn(s)
	if err != nil || !torn {
		return err
	}
	locks, err := e.locks(s)
	if err != nil {
		return err
	}
	if len(locks) > 0 {
		return e.locked(s, locks)
	}
	release, err := e.hold(s)
	if err != nil {
		return err
	}
	defer release()
	return e.repair(s)
}
