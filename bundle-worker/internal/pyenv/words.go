//go:build unix

package pyenv

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// noRoom is how pip and uv say that a disk is full.
const noRoom = "No space left on device"

// nothingFound is how pip says that it found no version at all, whatever the reason was.
const nothingFound = "(from versions: none)"

// failed is the error of a step that ended so, after these words.
func (p buildPlan) failed(name string, exit runner.Exit, words string) error {
	const what = "the bundle's dependencies could not be installed: "
	e := dependencies(what+reason(words), "the installer's own words are below; correct the dependencies and push again")
	silence := unanswered(words)
	switch {
	case exit.OutOfMemory:
		e.Message, e.Hint = what+name+" was killed by the kernel: out of memory", "run fewer tasks at a time on the machine, or give the worker more memory"
	case exit.Lost || exit.Signal != 0:
		e.Message, e.Hint = what+name+" was ended by "+cmp.Or(unix.SignalName(exit.Signal), "somebody"), "another try may succeed"
		e.Retryable = exit.Lost || exit.Signal == syscall.SIGKILL
	case strings.Contains(words, noRoom):
		e.Code, e.Hint = contracts.CodeDiskFull, "free some space in "+contracts.Quote(p.root)+", or run: bundle-worker cache gc"
	case silence != "":
		e.Message, e.Retryable = what+"the package index does not answer: "+silence, true
		e.Hint = "check the worker's network, PIP_INDEX_URL or UV_DEFAULT_INDEX, and HTTPS_PROXY; one node that reaches the index is enough, the others take the environment from it"
	case strings.Contains(words, nothingFound):
		e.Hint = "no version at all was found: correct the name, or what the worker says of its index and the login for it (PIP_INDEX_URL)"
	}
	e.StderrTail = words
	return e.Because(fmt.Errorf("%s ended with code %d, signal %d", name, exit.Code, exit.Signal))
}

// sayNothing begin lines of pip that look like an error and do not say which.
var sayNothing = regexp.MustCompile(`^(?:ERROR: Ignored the following|error: subprocess-exited-with-error)`)

// because begins the lines of uv that say why, each deeper, after the one that says what.
var because = regexp.MustCompile(`^(?:cause: |╰─▶ )`)

// reason is what an installer's output says went wrong, in a line.
func reason(words string) string {
	last, found, why := "", "", []string(nil)
	for line := range strings.Lines(words) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case found != "" && because.MatchString(line):
			why = append(why, because.ReplaceAllString(line, ""))
		case found != "":
			return contracts.Quote(explained(found, why))
		case strings.HasPrefix(strings.ToLower(line), "error:") && !sayNothing.MatchString(line), strings.HasPrefix(line, "×"):
			found = line
		default:
			last = line
		}
	}
	return contracts.Quote(cmp.Or(explained(found, why), last))
}

// explained is what went wrong, with the nearest and the innermost reason.
func explained(found string, why []string) string {
	if len(why) == 0 {
		return found
	}
	found = strings.TrimSuffix(found, ":") + ": " + why[0]
	if len(why) > 1 {
		found += ": " + why[len(why)-1]
	}
	return found
}

var (
	brokenConnection = regexp.MustCompile(`(?m)connection broken by '(.*)': \S*$`)
	anyObject        = regexp.MustCompile(`<[^>]*>: `) // of Python's
	failedRequest    = regexp.MustCompile(`(?m)^(error: Request failed.*|.*error sending request for url .*)$`)
)

// unanswered is why an index did not answer, quoted, if that is why an installer failed: pip
// says that it found nothing.
func unanswered(words string) string {
	if all := brokenConnection.FindAllStringSubmatch(words, -1); len(all) > 0 && strings.Contains(words, nothingFound) {
		return contracts.Quote(anyObject.ReplaceAllString(all[len(all)-1][1], ""))
	}
	if failedRequest.MatchString(words) {
		return reason(words)
	}
	return ""
}
