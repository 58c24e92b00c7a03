//go:build unix

package task

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/wire/harness"
	"github.com/modelops-suite/modelops-go/contracts"
)

// resolveInterpreter is the interpreter behind a script such as those of pyenv or asdf,
// which choose one by variables and files that a task must not have.
func resolveInterpreter(ctx context.Context, python string) (string, error) {
	script, err := harness.Script(python)
	if err != nil {
		return "", noInterpreter(python, err)
	}
	if !script {
		return python, nil
	}
	cmd := exec.CommandContext(ctx, python, "-I", "-S", "-c", "import sys; print(sys.executable)")
	cmd.Dir = "/" // a bundle's own .python-version does not choose
	out, err := cmd.Output()
	if err != nil {
		return "", noInterpreter(python, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func noInterpreter(python string, err error) error {
	e := &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: "interpreter " + contracts.Quote(python) + " does not work: " + contracts.Quote(err.Error()),
		Hint:    "install Python 3.9 or later where the worker runs",
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		e.StderrTail = string(exit.Stderr)
	}
	return e.Because(err)
}

// oldest is the oldest Python 3 that the harness is for.
const oldest = 9

func checkPython(version string) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err == nil && (major > 3 || major == 3 && minor >= oldest) {
		return nil
	}
	return &contracts.Error{
		Code: contracts.CodeDependencies, Stage: contracts.StagePrepare,
		Message: fmt.Sprintf("the worker's Python is %s, and the oldest that works is 3.%d", version, oldest),
		Hint:    "put a newer python3 on the worker's PATH",
	}
}
