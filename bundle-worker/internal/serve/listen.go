//go:build unix

package serve

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/owned"
	"github.com/modelops-suite/modelops-go/contracts"
)

// longestPath is what the shortest of the systems allows for a socket's path, in bytes.
const longestPath = 103

// Socket is a unix socket that is this server's alone.
type Socket struct {
	net.Listener
	// Dir is the directory of the socket, in which the server keeps what it needs.
	Dir string

	held *lock.File
}

// Listen listens at the path. The directory must be its owner's alone (0700), and is made so
// when it is absent. There is one server to a socket; one that a dead server left is taken
// over.
func Listen(path string) (*Socket, error) {
	dir, err := owned.Directory(filepath.Dir(path), "--socket")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, cannotListen(path, err)
	}
	if info.Mode().Perm() != 0o700 {
		return nil, &contracts.Error{
			Code: contracts.CodeDenied, Stage: contracts.StageEnvironment,
			Message: "directory " + contracts.Quote(dir) + " of the socket has mode " + strconv.FormatUint(uint64(info.Mode().Perm()), 8) + ": others may look into it",
			Hint:    "chmod 700 it, or name another with --socket",
		}
	}
	path = filepath.Join(dir, filepath.Base(path))
	if len(path) > longestPath {
		return nil, &contracts.Error{
			Code: contracts.CodeUsage, Stage: contracts.StageCommand,
			Message: "the socket's path " + contracts.Quote(path) + " has " + strconv.Itoa(len(path)) + " bytes, and may have " + strconv.Itoa(longestPath),
			Hint:    "name a shorter one with --socket",
		}
	}
	held, ok := lock.Try(path + ".lock")
	if !ok || answers(path) {
		held.Unlock()
		return nil, &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StageEnvironment,
			Message: "another worker serves " + contracts.Quote(path),
			Hint:    "use that one, or name another socket with --socket, in a directory that has file locks",
		}
	}
	l, err := listen(path)
	if err != nil {
		held.Unlock()
		return nil, cannotListen(path, err)
	}
	return &Socket{Listener: l, Dir: dir, held: held}, nil
}

// answers says whether somebody listens at the path.
func answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return errors.Is(err, os.ErrDeadlineExceeded) // somebody who does not come to it
	}
	_ = conn.Close()
	return true
}

// listen removes what a dead server left, if it is a socket, and listens.
func listen(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, errors.New("something that is no socket is in its place")
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	return l, err
}

func cannotListen(path string, err error) error {
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StageEnvironment,
		Message: "socket " + contracts.Quote(path) + " cannot be made: " + contracts.Quote(err.Error()),
		Hint:    "name another with --socket",
	}).Because(err)
}

// Close removes the socket and lets go of it.
func (s *Socket) Close() error {
	err := s.Listener.Close()
	s.held.Unlock()
	return err
}
