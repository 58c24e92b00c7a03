package results

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// input is an output's bytes as the tables read them: from memory when the record has
// them, else from a temporary file, which is checked before anything is made of it.
func (r *Rows) input(ctx context.Context, name string, artifact contracts.Artifact) table.Input {
	return table.Input{Name: name, ContentType: artifact.ContentType, Size: artifact.Size, Open: func() (io.ReadSeekCloser, error) {
		if artifact.Ref == "" {
			return inline{bytes.NewReader(artifact.Inline)}, nil
		}
		return r.download(ctx, artifact)
	}}
}

type inline struct{ *bytes.Reader }

func (inline) Close() error { return nil }

// download copies a large output to a file that is gone when it is closed.
func (r *Rows) download(ctx context.Context, artifact contracts.Artifact) (io.ReadSeekCloser, error) {
	body, err := r.archive.Open(ctx, artifact)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	f, err := os.CreateTemp("", "mops-output-*")
	if err != nil {
		return nil, writeError(err)
	}
	file := &temporary{f}
	if _, err = io.Copy(f, body); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return nil, writeFailure(err)
	}
	return file, nil
}

type temporary struct{ *os.File }

func (t *temporary) Close() error {
	return errors.Join(t.File.Close(), os.Remove(t.File.Name()))
}

// names makes names of outputs into names of files, no two of which are the same on any
// system.
type names struct{ taken map[string]bool }

func newNames() *names { return &names{taken: map[string]bool{}} }

const maxName = 100

// of is a file name for an output: its own, without what tells the format, and without
// what a file system could take for something else.
func (n *names) of(output string) string {
	base := output
	switch extension := path.Ext(base); strings.ToLower(extension) {
	case ".csv", ".tsv", ".parquet", ".arrow", ".arrows", ".feather", ".json", ".ndjson", ".jsonl":
		base = strings.TrimSuffix(base, extension)
	}
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return '_'
	}, base)
	safe = strings.Trim(safe, ".")
	if len(safe) > maxName {
		safe = safe[:maxName]
	}
	if safe == "" || reserved(safe) {
		safe = "output_" + safe
	}
	unique := safe
	for i := 2; n.taken[strings.ToLower(unique)]; i++ {
		unique = safe + "-" + strconv.Itoa(i)
	}
	n.taken[strings.ToLower(unique)] = true
	return unique
}

// reserved says whether Windows takes a name for a device.
func reserved(name string) bool {
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) && stem[3] >= '0' && stem[3] <= '9'
}

// writeError is the error of a file that cannot be written, or nil for nil.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageCollect, Message: "cannot write: " + err.Error()}).Because(err)
}

// writeFailure is the error of something that reads what is stored and writes it to a
// file: what the storage says, or that it cannot be written.
func writeFailure(err error) error {
	if contracts.AsError(err).Code != contracts.CodeInternal || errors.Is(err, context.Canceled) {
		return err
	}
	return writeError(err)
}
