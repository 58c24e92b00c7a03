//go:build unix

package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// bytecode is the harness as Python compiled it, which takes a good part of a small model's
// start. Each version of Python has a file of its own, and knows whether it fits. What is
// kept has its digest in its name and is copied to each process: what a model does to its
// copy, or breaks of what is kept, reaches no other.
//
//	<root>/<digest of the harness>/harness.cpython-312.pyc.<digest>
//
// Whatever goes wrong here has Python compile the harness.
type bytecode struct {
	kept string // for this harness; "" for nowhere
	used string // by one process
}

// newBytecode is the bytecode of the harness, for a process whose files are in scratch.
func newBytecode(root, scratch string) bytecode {
	b := bytecode{used: filepath.Join(scratch, "__pycache__")}
	if root != "" {
		b.kept = filepath.Join(root, digestOf(harness.Text()))
	}
	return b
}

// lend gives the process what is kept, before it proceeds.
func (b bytecode) lend() {
	entries, err := os.ReadDir(b.kept)
	if err != nil {
		return
	}
	for _, entry := range entries {
		name, digest := cutExtension(entry.Name())
		data, err := os.ReadFile(filepath.Join(b.kept, entry.Name()))
		if err != nil || digestOf(data) != digest {
			_ = os.Remove(filepath.Join(b.kept, entry.Name()))
			continue
		}
		if os.MkdirAll(b.used, 0o700) == nil {
			_ = os.WriteFile(filepath.Join(b.used, name), data, 0o400)
		}
	}
}

// keep keeps what the process compiled itself. It must not have run anything of a bundle.
func (b bytecode) keep() {
	entries, err := os.ReadDir(b.used)
	if b.kept == "" || err != nil || len(entries) == 0 {
		return
	}
	for _, entry := range entries {
		if known, err := filepath.Glob(filepath.Join(b.kept, entry.Name()+".*")); err != nil || len(known) > 0 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(b.used, entry.Name()))
		if err == nil && os.MkdirAll(b.kept, 0o700) == nil {
			_ = atomicfile.Write(filepath.Join(b.kept, entry.Name()+"."+digestOf(data)), data, 0o400)
		}
	}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func cutExtension(name string) (stem, extension string) {
	at := strings.LastIndexByte(name, '.')
	if at < 0 {
		return name, ""
	}
	return name[:at], name[at+1:]
}
