package engine

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

// passphrase makes sure that there is one, and adds it to what errors must not show. It
// is made if create is set and nothing was encrypted by another one.
func (e *Engine) passphrase(create bool) error {
	path := e.layout.passphrase()
	value, err := readPassphrase(path)
	if errors.Is(err, fs.ErrNotExist) {
		if states, _ := filepath.Glob(filepath.Join(e.layout.stacks(), "*", "*.json")); len(states) > 0 || !create {
			return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
				Message: fmt.Sprintf("the passphrase %s is gone, and the state under %s is encrypted by it", contracts.Quote(path), contracts.Quote(e.layout.state())),
				Hint:    "put it back from a backup of the two; a new one could not read the state"}
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return infra.Cannot("make", filepath.Dir(path), err)
		}
		// No line end: what the engine trims is no business of this file.
		fresh := []byte(base64.RawURLEncoding.EncodeToString(randomBytes(32)))
		if err := atomicfile.Create(path, fresh, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return infra.Cannot("write", path, err)
		}
		value, err = readPassphrase(path) // this one's, or that of whoever was first
	}
	if err != nil {
		return err
	}
	e.secret.add(value)
	return nil
}

func readPassphrase(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err != nil {
		return "", infra.Cannot("read", path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", infra.Cannot("read", path, err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return "", &contracts.Error{Code: contracts.CodeDenied, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("the passphrase %s can be read by others (mode %04o)", contracts.Quote(path), info.Mode().Perm()),
			Hint:    "chmod 600 it"}
	}
	buffer := make([]byte, 4096)
	n, err := file.Read(buffer)
	if n == 0 {
		return "", &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("the passphrase %s is empty", contracts.Quote(path)), Hint: "put it back from a backup"}
	}
	return string(buffer[:n]), nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
