//go:build unix

package program

import (
	"syscall"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Become runs a program in the place of this one: with its process and its terminal. It
// returns only when that is not possible.
func Become(path string, args, environ []string) error {
	err := syscall.Exec(path, append([]string{path}, args...), environ)
	return (&contracts.Error{Code: contracts.CodeFailed, Message: "cannot run " + contracts.Quote(path) + ": " + err.Error()}).Because(err)
}
