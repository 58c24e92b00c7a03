package infra

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Cannot is the envelope for something that the system refused to do with a file.
func Cannot(verb, path string, err error) error {
	reason := err
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathError.Err
	}
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("%s %s: %v", verb, contracts.Quote(path), reason)}
	if errors.Is(err, fs.ErrPermission) {
		e.Code = contracts.CodeDenied
	}
	return e.Because(err)
}
