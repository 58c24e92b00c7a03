// Package doctor is what "mops doctor" says of what it looked at, and the checks of what
// an environment in a cloud needs before it can be made. A check only looks: it changes
// nothing, and what it cannot look at it calls skipped, with the reason.
package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and is worth a look
	Failed  Status = "failed"
	Skipped Status = "skipped" // not checked: something that it needs is missing
)

// Check is one thing that was looked at.
type Check struct {
	Name   string         `json:"name"`
	Status Status         `json:"status"`
	Looked string         `json:"looked"`           // at what
	Detail string         `json:"detail,omitempty"` // what was found
	Hint   string         `json:"hint,omitempty"`   // how to mend it
	Code   contracts.Code `json:"code,omitempty"`   // of the error, when it failed with one
}

// OK is the check, with nothing to mend.
func (c Check) OK(format string, args ...any) Check {
	c.Status, c.Detail = OK, fmt.Sprintf(format, args...)
	return c
}

// Warning is the check, with something that need not be mended.
func (c Check) Warning(hint, format string, args ...any) Check {
	c.Status, c.Hint, c.Detail = Warning, hint, fmt.Sprintf(format, args...)
	return c
}

// Skipped is the check that was not made, and why.
func (c Check) Skipped(format string, args ...any) Check {
	c.Status, c.Detail = Skipped, fmt.Sprintf(format, args...)
	return c
}

// Failed is the check, with what to mend.
func (c Check) Failed(code contracts.Code, hint, format string, args ...any) Check {
	c.Status, c.Code, c.Hint, c.Detail = Failed, code, hint, fmt.Sprintf(format, args...)
	return c
}

// FailedWith is the outcome for an error of the step that was tried.
func (c Check) FailedWith(err error) Check {
	e := contracts.AsError(err)
	detail := e.Message
	for _, problem := range e.Problems[min(1, len(e.Problems)):] { // the message has the first
		detail += "; " + problem.String()
	}
	return c.Failed(e.Code, e.Hint, "%s", detail)
}

// Text writes the check for a reader.
func (c Check) Text(w io.Writer) {
	line := strings.TrimRight(fmt.Sprintf("%-8s %-17s %s", c.Status, c.Name, contracts.Lines(c.Looked)), " ")
	if c.Detail != "" {
		line += ": " + contracts.Lines(c.Detail)
	}
	fmt.Fprintln(w, line)
	if c.Hint != "" {
		fmt.Fprintf(w, "%26s hint: %s\n", "", contracts.Lines(c.Hint))
	}
}
