//go:build unix

package wire

import (
	"context"
	"errors"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
)

var errOther = errors.New("the interpreter that was started ahead is another one, or none")

// StartAhead is [Start] with an interpreter that was started ahead, which is not taken, an
// error, if it is not what l says. The caller closes the session.
func StartAhead(ctx context.Context, ahead *harness.Ahead, l Launch) (*Session, error) {
	process := ahead.Take(l.process())
	if process == nil {
		return nil, errOther
	}
	return bind(ctx, newSession(process, l), l)
}
