//go:build unix

package program

import (
	"context"
	"syscall"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Become runs a program in the place of this one: with its process, its terminal and its
// arguments. It returns only when that is not possible.
func Become(_ context.Context, path string, args, environ []string) error {
	err := syscall.Exec(path, args, environ)
	return (&contracts.Error{Code: contracts.CodeFailed, Message: "cannot run " + contracts.Quote(path) + ": " + err.Error()}).Because(err)
}
