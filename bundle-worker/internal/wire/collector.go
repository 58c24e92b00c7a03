//go:build unix

package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/blake2b"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

const (
	maxOutputs    = 10_000
	maxOutputName = 1024     // bytes
	sniffed       = 64 << 10 // bytes that a content type is guessed from
	checked       = 1 << 20  // bytes of an output that may be an error in disguise
)

// Collector makes artifacts of outputs.
type Collector struct {
	// Dir is where outputs over [contracts.InlineCap] go; empty to keep all inline.
	Dir string
	// MaxOutput is the size in bytes of the largest output.
	MaxOutput int64
	// Only are the outputs that the task asks for; nil for all.
	Only []string

	artifacts map[string]contracts.Artifact
	seen      []emptiness // of every output, wanted or not
}

// Bytes takes an output that is in memory.
func (c *Collector) Bytes(name string, data []byte) error {
	if err := c.check(name, int64(len(data))); err != nil {
		return err
	}
	c.seen = append(c.seen, examine(name, data))
	if !c.wanted(name) {
		return nil
	}
	if c.Dir != "" && len(data) > contracts.InlineCap {
		return c.spill(name, strings.NewReader(string(data)), data)
	}
	return c.add(name, contracts.NewArtifact(contentType(name, data), data))
}

// File takes an output that is a file below root. It must be a regular file; no link is
// followed to it.
func (c *Collector) File(name string, root *os.Root, file string) error {
	f, err := root.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return outputError(name, "cannot be read: "+contracts.Quote(err.Error())).Because(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return cannotStore(err)
	}
	if !info.Mode().IsRegular() {
		return outputError(name, "is "+fileKind(info.Mode())+", not a regular file")
	}
	if err := c.check(name, info.Size()); err != nil {
		return err
	}
	if c.Dir != "" && info.Size() > contracts.InlineCap && c.wanted(name) {
		begin := make([]byte, min(info.Size(), sniffed))
		if _, err := io.ReadFull(f, begin); err != nil {
			return cannotStore(err)
		}
		if info.Size() <= checked {
			return c.whole(name, f, begin)
		}
		c.seen = append(c.seen, emptiness{name: name}) // too large to be empty
		return c.spill(name, io.MultiReader(strings.NewReader(string(begin)), f), begin)
	}
	return c.whole(name, f, nil)
}

// whole reads the rest of an output and takes it as bytes.
func (c *Collector) whole(name string, f io.Reader, begin []byte) error {
	rest, err := io.ReadAll(io.LimitReader(f, c.MaxOutput+1))
	if err != nil {
		return cannotStore(err)
	}
	return c.Bytes(name, append(begin, rest...))
}

// Directory takes every regular file in dir as an output; its name is its path.
func (c *Collector) Directory(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return cannotStore(err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return outputError(name, "cannot be read: "+contracts.Quote(err.Error()))
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return outputError(name, "is "+fileKind(d.Type())+", not a regular file")
		}
		return c.File(name, root, filepath.FromSlash(name))
	})
}

// Result is every artifact, or the error that the outputs amount to: none at all, one
// that was asked for and is not there, or an empty table with an error in its metadata.
func (c *Collector) Result() (map[string]contracts.Artifact, error) {
	if err := disguised(c.seen); err != nil {
		return nil, err
	}
	answered := make([]string, 0, len(c.seen))
	for _, e := range c.seen {
		answered = append(answered, e.name)
	}
	slices.Sort(answered)
	if len(answered) == 0 {
		return nil, &contracts.Error{
			Code: contracts.CodeOutput, Stage: contracts.StageRun, Message: "the simulation ended without an output",
			Hint: "a wire answers {name: bytes}; a command writes files to the directory in MODELOPS_OUTPUT_DIR",
		}
	}
	for _, name := range c.Only {
		if _, ok := c.artifacts[name]; !ok {
			return nil, &contracts.Error{
				Code: contracts.CodeOutput, Stage: contracts.StageRun,
				Message: "the simulation answered no output " + contracts.Quote(name) + "; it answered " + contracts.Quote(strings.Join(answered, ", ")),
				Hint:    "correct the study's outputs, or leave them out to get all",
			}
		}
	}
	return maps.Clone(c.artifacts), nil
}

func (c *Collector) wanted(name string) bool { return c.Only == nil || slices.Contains(c.Only, name) }

func (c *Collector) check(name string, size int64) error {
	switch {
	case name == "" || len(name) > maxOutputName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return outputError(name, "has a name that is empty, over 1024 bytes, or has control characters")
	case path.IsAbs(name) || path.Clean(name) != name || name == "." || strings.HasPrefix(name, "../") || name == "..":
		return outputError(name, "has a name that is no relative path in its shortest form")
	case size > c.MaxOutput:
		return outputError(name, fmt.Sprintf("has %d bytes, and may have %d", size, c.MaxOutput))
	case len(c.seen) >= maxOutputs:
		return outputError(name, fmt.Sprintf("is one too many: a task may have %d outputs", maxOutputs))
	case slices.ContainsFunc(c.seen, func(e emptiness) bool { return e.name == name }):
		return outputError(name, "is there twice: answered by the wire and as a file")
	}
	return nil
}

func (c *Collector) add(name string, a contracts.Artifact) error {
	if c.artifacts == nil {
		c.artifacts = map[string]contracts.Artifact{}
	}
	c.artifacts[name] = a
	return nil
}

// spill writes an output to a file named by its checksum, and flushes it to the disk.
func (c *Collector) spill(name string, from io.Reader, begin []byte) (err error) {
	temporary, err := os.CreateTemp(c.Dir, ".output-*.tmp")
	if err != nil {
		return cannotStore(err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // it is gone when it was renamed
	hash, err := blake2b.New256(nil)
	if err != nil {
		return cannotStore(err)
	}
	size, err := io.Copy(io.MultiWriter(temporary, hash), io.LimitReader(from, c.MaxOutput+1))
	if err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return cannotStore(err)
	}
	if size > c.MaxOutput {
		return outputError(name, fmt.Sprintf("grew over the %d bytes that it may have", c.MaxOutput))
	}
	checksum := hex.EncodeToString(hash.Sum(nil))
	err = os.Rename(temporary.Name(), filepath.Join(c.Dir, checksum))
	if err == nil {
		err = atomicfile.SyncDir(c.Dir)
	}
	if err != nil {
		return cannotStore(err)
	}
	return c.add(name, contracts.Artifact{ContentType: contentType(name, begin), Size: size, Ref: "file:" + checksum, Checksum: checksum})
}

func outputError(name, problem string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeOutput, Stage: contracts.StageRun, Message: "output " + contracts.Quote(name) + " " + problem}
}

func cannotStore(err error) *contracts.Error {
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageStore, Message: "outputs cannot be stored: " + contracts.Quote(err.Error())}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Code, e.Hint, e.Retryable = contracts.CodeDiskFull, "make room on the disk that holds them", true
	}
	return e.Because(err)
}

func fileKind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
