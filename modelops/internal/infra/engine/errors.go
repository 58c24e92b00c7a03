package engine

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"

	"github.com/modelops-suite/modelops-go/contracts"
)

// explain is the envelope for an operation that did not succeed. What the SDK returns
// holds everything that the engine printed, so none of it is passed on whole.
func (e *Engine) explain(ctx context.Context, c *connection, verb string, err error, failures []*Failure) error {
	said := c.cli.Stderr()
	if earlier, ok := err.(*engineError); ok {
		err, said = earlier.error, earlier.said
	}
	select {
	case <-e.config.Kill:
		return &contracts.Error{Code: contracts.CodeInterrupted, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("%s of stack %s was ended in the middle", verb, c.stack.Name),
			Hint:    "the next mops infra up looks for what was being made; if it says that the stack is locked: mops infra unlock"}
	default:
	}
	if auto.IsConcurrentUpdateError(err) || strings.Contains(said, lockedText) {
		return e.locked(c.stack, locksIn(said))
	}
	failures = distinct(failures)
	if ctx.Err() != nil && len(failures) == 0 {
		return (&contracts.Error{Code: contracts.CodeInterrupted, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("%s of stack %s was stopped; what was begun is finished and recorded", verb, c.stack.Name),
			Hint:    "the same command goes on from there"}).Because(context.Cause(ctx))
	}
	envelope := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision}
	if len(failures) == 0 {
		envelope.Message = fmt.Sprintf("%s of stack %s: %s", verb, c.stack.Name, e.secret.text(cmp.Or(errorLines(said), firstLine(err))))
		return envelope
	}
	envelope.Message = contracts.Lines(failures[0].Error())
	if len(failures) > 1 {
		for _, f := range failures {
			envelope.Problems = append(envelope.Problems, contracts.Problem{Field: f.Name, Message: contracts.Lines(f.Error())})
		}
		envelope.Message += fmt.Sprintf(" (and %d more)", len(failures)-1)
	}
	return envelope.Because(failures[0])
}

// engineError is an error of the SDK with what the engine had written then.
type engineError struct {
	error
	said string
}

// distinct are the failures that say something: one for each resource, and those of no
// resource only when there are no others.
func distinct(failures []*Failure) []*Failure {
	var of, other []*Failure
	seen := map[string]bool{}
	for _, f := range failures {
		switch {
		case f.Name == "" || f.Type == "pulumi:pulumi:Stack":
			if !regexp.MustCompile(`^[a-z ]+ (failed|canceled)$`).MatchString(f.Message) { // says nothing by itself
				other = append(other, &Failure{Message: f.Message})
			}
		case !seen[f.URN]:
			seen[f.URN] = true
			of = append(of, f)
		}
	}
	if len(of) == 0 {
		return other
	}
	return of
}

// errorLines are the lines of the engine's own errors.
func errorLines(stderr string) string {
	var lines []string
	for line := range strings.Lines(plain(stderr)) {
		if text, found := strings.CutPrefix(strings.TrimSpace(line), "error: "); found {
			lines = append(lines, text)
		}
	}
	return contracts.Lines(strings.Join(lines, "; "))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return contracts.Lines(line)
}

// plain is text of the engine without its marks of colour.
func plain(text string) string {
	return regexp.MustCompile(`<\{%[^%]*%\}>|\x1b\[[0-9;]*m`).ReplaceAllString(text, "")
}

// redactor blots secrets out of what is shown.
type redactor struct{ values *[]string }

// redactorOf knows the values of an environment's variables that are called secret.
func redactorOf(environ []string) redactor {
	r := redactor{values: new([]string)}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		name = strings.ToUpper(name)
		for _, word := range []string{"SECRET", "PASSWORD", "PASSPHRASE", "TOKEN", "KEY", "CONNECTION_STRING"} {
			if strings.HasSuffix(name, word) {
				r.add(value)
			}
		}
	}
	return r
}

// add makes a value secret, and every string in it. Short ones are not: they would blot
// out ordinary words.
func (r redactor) add(value any) {
	switch v := value.(type) {
	case string:
		if len(v) >= 6 && !slices.Contains(*r.values, v) {
			*r.values = append(*r.values, v)
			slices.SortFunc(*r.values, func(a, b string) int { return len(b) - len(a) })
		}
	case []any:
		for _, item := range v {
			r.add(item)
		}
	case map[string]any:
		for _, item := range v {
			r.add(item)
		}
	}
}

// text is what may be shown of it.
func (r redactor) text(text string) string {
	for _, value := range *r.values {
		text = strings.ReplaceAll(text, value, "[secret]")
	}
	return regexp.MustCompile(`(?i)\b(AccountKey|SharedAccessKey|SharedAccessSignature|sig|client_secret|password)=[^;&\s"']+`).
		ReplaceAllString(text, "$1=[secret]")
}
