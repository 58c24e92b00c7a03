package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// The outcomes of a check.
const (
	checkOK      = "ok"
	checkFailed  = "failed"
	checkSkipped = "skipped" // it says nothing: something that it needs is missing
)

// check is one thing that was looked at.
type check struct {
	Name   string         `json:"name"`
	Status string         `json:"status"`
	Looked string         `json:"looked"`           // at what
	Detail string         `json:"detail,omitempty"` // what was found
	Hint   string         `json:"hint,omitempty"`   // how to mend it
	Code   contracts.Code `json:"code,omitempty"`   // of the error, when it failed with one
}

func (c check) ok(format string, args ...any) check {
	c.Status, c.Detail = checkOK, fmt.Sprintf(format, args...)
	return c
}

func (c check) skipped(format string, args ...any) check {
	c.Status, c.Detail = checkSkipped, fmt.Sprintf(format, args...)
	return c
}

func (c check) failed(code contracts.Code, hint, format string, args ...any) check {
	c.Status, c.Code, c.Hint, c.Detail = checkFailed, code, hint, fmt.Sprintf(format, args...)
	return c
}

// failedWith is the outcome for an error of the step that was tried.
func (c check) failedWith(err error) check {
	e := contracts.AsError(err)
	detail := e.Message
	for _, problem := range e.Problems[min(1, len(e.Problems)):] { // the message has the first
		detail += "; " + problem.String()
	}
	return c.failed(e.Code, e.Hint, "%s", detail)
}

func (c check) text(w io.Writer) {
	line := strings.TrimRight(fmt.Sprintf("%-8s %-16s %s", c.Status, c.Name, contracts.Lines(c.Looked)), " ")
	if c.Detail != "" {
		line += ": " + contracts.Lines(c.Detail)
	}
	fmt.Fprintln(w, line)
	if c.Hint != "" {
		fmt.Fprintf(w, "%25s hint: %s\n", "", contracts.Lines(c.Hint))
	}
}
