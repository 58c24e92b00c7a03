package environment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/modelops-suite/modelops-go/contracts"
)

// maxFile bounds what is read of a file; the parser says what is wrong with a larger one.
const maxFile = 64<<10 + 1

// opener says how much a file is trusted.
type opener struct {
	links bool // links are followed, and anybody may own the file: it was named or mounted
}

// read returns the file's content, and whether others can read it. The error is an
// [fs.ErrNotExist] or an envelope.
func (o opener) read(path string) (data []byte, seen bool, err error) {
	flags := openFlags
	if !o.links {
		flags |= noFollow
	}
	f, err := os.OpenFile(path, flags, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	case err != nil && !o.links && isLink(err):
		return nil, false, untrusted(path, "is a symbolic link", "put the file itself there")
	case err != nil:
		return nil, false, unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, false, untrusted(path, "is "+kind(info.Mode())+", not a file", "put a file there")
	}
	if problem, hint := distrust(path, info, !o.links); problem != "" {
		return nil, false, untrusted(path, problem, hint)
	}
	data, err = io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, false, unreadable(path, err)
	}
	return data, exposed(info), nil
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// CheckDirectory refuses a directory that others than the user (or root) own or that
// everybody can write to. One that is not there is fine.
func CheckDirectory(path string) error {
	info, err := os.Stat(path) // a link to a directory of the user's own is the user's business
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unreadable(path, err)
	case !info.IsDir():
		return untrusted(path, "is not a directory", "move it away")
	}
	if problem, hint := distrust(path, info, true); problem != "" {
		return untrusted(path, problem, hint)
	}
	return nil
}

// untrusted refuses to use what lies at path.
func untrusted(path, problem, hint string) error {
	return &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment,
		Message: contracts.Quote(path) + " " + problem, Hint: hint}
}

// unreadable is an error reading, which is never taken for an absence.
func unreadable(path string, err error) error {
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageEnvironment}
	var reason error = err
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathError.Err
	}
	e.Message = fmt.Sprintf("read %s: %v", contracts.Quote(path), reason)
	if errors.Is(err, fs.ErrPermission) {
		e.Code, e.Hint = contracts.CodeDenied, "see who owns it: ls -ld "+path
	}
	return e.Because(err)
}
