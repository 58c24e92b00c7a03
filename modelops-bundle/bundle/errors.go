package bundle

import (
	"errors"
	"syscall"

	"github.com/modelops-suite/modelops-go/contracts"
)

func unwritable(p string, err error) error {
	code := contracts.CodeFailed
	hint := ""
	if errors.Is(err, syscall.ENOSPC) {
		code, hint = contracts.CodeDiskFull, "free some space and try again"
	}
	return (&contracts.Error{
		Code: code, Stage: contracts.StagePull,
		Message: contracts.Quote(p) + " cannot be written: " + reason(err), Hint: hint,
	}).Because(err)
}
