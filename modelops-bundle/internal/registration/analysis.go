package registration

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

//go:embed analyze.py
var analyzer string

// Analysis is what Python's own parser says of files, by path. No code of theirs is run.
type Analysis map[string]File

// File is one Python file.
type File struct {
	Error     *SyntaxError     `json:"error"`
	Classes   map[string]Class `json:"classes"`
	Functions map[string]int   `json:"functions"` // with the line of each
	Targets   []Found          `json:"targets"`
	Imports   []string         `json:"imports"` // the project's files that it needs, those of others included
}

// SyntaxError is why a file cannot be parsed.
type SyntaxError struct {
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// Class is a class at the top level of a file.
type Class struct {
	Line    int      `json:"line"`
	Model   bool     `json:"model"`   // it descends from a BaseModel that is not pydantic's
	Outputs []string `json:"outputs"` // its own and its bases'
}

// Found is a function that is a calibration target.
type Found struct {
	Function string   `json:"function"`
	Line     int      `json:"line"`
	Name     string   `json:"name"`
	Output   string   `json:"output"`
	Data     []string `json:"data"`
	Unread   []string `json:"unread"` // arguments of the decorator that are not literals
}

// ErrNoPython is the cause of the error when there is no Python to analyse with.
var ErrNoPython = errors.New("no Python")

// Analyze parses the files want, all of them among files, below the directory root.
// Without a Python of at least 3.9 there is a [contracts.Error] with the cause
// [ErrNoPython].
func Analyze(ctx context.Context, root string, files, want []string) (Analysis, error) {
	if len(want) == 0 {
		return Analysis{}, nil
	}
	python, err := findPython(ctx)
	if err != nil {
		return nil, err
	}
	ask, err := json.Marshal(map[string]any{"root": root, "files": files, "want": want})
	if err != nil {
		return nil, err
	}
	var out, stderr bytes.Buffer
	// -I: neither the working directory nor variables decide what is imported.
	cmd := exec.CommandContext(ctx, python, "-I", "-B", "-W", "ignore", "-c", analyzer)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = os.TempDir(), bytes.NewReader(ask), &out, &stderr
	err = cmd.Run()
	var answer struct {
		Files Analysis `json:"files"`
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &answer)
	}
	if err != nil {
		return nil, (&contracts.Error{
			Code: contracts.CodeFailed, Stage: contracts.StageProject,
			Message: python + " cannot analyse the project: " + contracts.Quote(err.Error()), StderrTail: tail(stderr.String()),
		}).Because(err)
	}
	return answer.Files, nil
}

func tail(s string) string {
	const most = 4096 // bytes
	return s[max(0, len(s)-most):]
}

// findPython is the first Python on the path that is new enough.
func findPython(ctx context.Context) (string, error) {
	var seen []string
	for _, name := range []string{"python3", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		check := exec.CommandContext(ctx, path, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 9))")
		out, err := check.Output()
		if err == nil {
			return path, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		seen = append(seen, path+" ("+strings.TrimSpace(string(out))+")")
	}
	message := "there is no python3 on the path, and Python files are analysed with it"
	if len(seen) > 0 {
		message = "Python files are analysed with Python 3.9 or later; there is only " + contracts.Lines(strings.Join(seen, ", "))
	}
	return "", (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StageProject, Message: message, Hint: "install Python 3.9 or later as python3",
	}).Because(ErrNoPython)
}
