package blobstore

import (
	"context"
	"errors"
	"io/fs"

	"github.com/modelops-suite/modelops-go/contracts"
)

// translate is an error of the operating system in the package's terms. what is a key
// or a path.
func translate(verb, what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*contracts.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	code := contracts.CodeUnavailable
	switch {
	case errors.Is(err, fs.ErrNotExist) && verb != "write":
		return ErrNotFound
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case isFull(err):
		code = contracts.CodeDiskFull
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		code = contracts.CodeDenied
	}
	return (&contracts.Error{Code: code, Stage: contracts.StageStore,
		Message: "storage: cannot " + verb + " " + contracts.Quote(what) + ": " + reason(err)}).Because(err)
}

// reason is the operating system's words alone.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}
