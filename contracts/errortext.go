package contracts

import (
	"fmt"
	"slices"
	"strings"
)

// Text is the error as people read it on a terminal: what is wrong, every fault of the document if it
// was one, what to do, and what the failed program itself wrote.
func (e *Error) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "error: %s\n", Lines(e.Message))
	hinted := false
	if len(e.Problems) > 1 || len(e.Problems) == 1 && !strings.Contains(e.Message, e.Problems[0].Message) { // or the message says it already
		writeProblems(&b, e.Problems)
		hinted = slices.ContainsFunc(e.Problems, func(p Problem) bool { return p.Hint == e.Hint })
	}
	if e.Hint != "" && !hinted {
		fmt.Fprintf(&b, "hint: %s\n", Lines(e.Hint))
	}
	writeBlock(&b, "traceback", e.Traceback)
	if !strings.Contains(e.StderrTail, strings.TrimSpace(e.Traceback)) || e.Traceback == "" {
		writeBlock(&b, "stderr", e.StderrTail)
	}
	return b.String()
}

// ProblemText is the faults of a document, one to a line with its hint below.
func ProblemText(problems []Problem) string {
	var b strings.Builder
	writeProblems(&b, problems)
	return b.String()
}

func writeProblems(b *strings.Builder, problems []Problem) {
	for _, p := range problems {
		field := ""
		if p.Field != "" {
			field = Lines(p.Field) + ": "
		}
		fmt.Fprintf(b, "  %s%s\n", field, Lines(p.Message))
		if p.Hint != "" {
			fmt.Fprintf(b, "    hint: %s\n", Lines(p.Hint))
		}
	}
}

func writeBlock(b *strings.Builder, title, text string) {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return
	}
	fmt.Fprintf(b, "%s:\n", title)
	for l := range strings.SplitSeq(Lines(text), "\n") {
		fmt.Fprintf(b, "  %s\n", l)
	}
}
