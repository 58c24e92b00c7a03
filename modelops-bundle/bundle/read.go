package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/modelops-suite/modelops-go/contracts"
)

// folder opens files of a project one after another, and keeps open the directory of the
// last one: to go to each from the top costs as much as to read it.
type folder struct {
	root *os.Root
	name string
	at   *os.Root // nil for none
}

// Open opens a file, wherever a link leads inside the project.
func (d *folder) Open(name string) (*os.File, error) {
	dir, base := path.Split(name)
	if dir == "" {
		return d.root.Open(name)
	}
	if d.at == nil || d.name != dir {
		d.close()
		at, err := d.root.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		d.name, d.at = dir, at
	}
	if f, err := d.at.Open(base); err == nil {
		return f, nil
	}
	return d.root.Open(name) // a link may lead out of its directory
}

func (d *folder) close() {
	if d.at != nil {
		_ = d.at.Close()
		d.at = nil
	}
}

type opener interface {
	Open(name string) (*os.File, error)
}

// openUnchanged opens a file and makes sure that it is the one that the scan saw.
func openUnchanged(root opener, source Source) (*os.File, error) {
	f, err := root.Open(source.Path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, changed(source, err)
		}
		return nil, unreadable(source.Path, err)
	}
	if err := stillUnchanged(f, source); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func stillUnchanged(f *os.File, source Source) error {
	info, err := f.Stat()
	if err != nil {
		return unreadable(source.Path, err)
	}
	if touched(info, source.Info) {
		return changed(source, nil)
	}
	return nil
}

func changed(source Source, cause error) error {
	return (&contracts.Error{
		Code: contracts.CodeConflict, Stage: contracts.StagePack,
		Message: fmt.Sprintf("%s changed while it was read", contracts.Quote(source.Path)),
		Hint:    "wait until nothing writes to the project, then try again",
	}).Because(cause)
}

// readWhole reads a small file into the room behind buf.
func readWhole(from *folder, source Source, buf []byte) ([]byte, error) {
	f, err := openUnchanged(from, source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	room := buf[len(buf) : len(buf)+int(source.Info.Size())]
	if _, err := io.ReadFull(f, room); err != nil {
		return nil, changed(source, err)
	}
	return room, stillUnchanged(f, source)
}
