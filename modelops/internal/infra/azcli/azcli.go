// Package azcli asks Azure's own command-line program, az, what it knows about whoever is
// signed in, and Azure through it. It only reads.
package azcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Timeout bounds one question; az is a Python program, and slow the first time.
const Timeout = 60 * time.Second

// Account is a subscription that the user can use.
type Account struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	TenantID  string `json:"tenantId"`
	IsDefault bool   `json:"isDefault"`
	State     string `json:"state"`
}

// Program is az on this machine.
type Program struct {
	path    string
	environ []string
	timeout time.Duration
}

// Find looks for az in the directories of PATH, those that are absolute. The error is an
// envelope with [contracts.CodeNotFound].
func Find(getenv func(string) string, environ []string) (*Program, error) {
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, "az")); err == nil {
			return &Program{path: path, environ: environ, timeout: Timeout}, nil
		}
	}
	return nil, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
		Message: "az, Azure's command-line program, is not on PATH", Hint: "install it, and sign in: az login"}
}

// Accounts are the subscriptions that can be used, the default one first. Nobody being
// signed in is an error with [contracts.CodeUnauthenticated].
func (p *Program) Accounts(ctx context.Context) ([]Account, error) {
	var accounts []Account
	if err := p.Ask(ctx, &accounts, "account", "list", "--output", "json"); err != nil {
		return nil, err
	}
	accounts = slices.DeleteFunc(accounts, func(a Account) bool { return a.State != "" && a.State != "Enabled" && a.State != "Warned" })
	if len(accounts) == 0 {
		return nil, signIn("az knows of no subscription that can be used")
	}
	slices.SortStableFunc(accounts, func(a, b Account) int {
		switch {
		case a.IsDefault == b.IsDefault:
			return strings.Compare(a.Name, b.Name)
		case a.IsDefault:
			return -1
		}
		return 1
	})
	return accounts, nil
}

// Location is the region that the user has set for az; "" when there is none.
func (p *Program) Location(ctx context.Context) string {
	var setting struct {
		Value string `json:"value"`
	}
	if err := p.Ask(ctx, &setting, "config", "get", "defaults.location", "--output", "json"); err != nil {
		return "" // az fails when it is not set
	}
	return setting.Value
}

// Path is where az is.
func (p *Program) Path() string { return p.path }

// Within is the same program, whose questions take no longer than that.
func (p *Program) Within(timeout time.Duration) *Program {
	return &Program{path: p.path, environ: p.environ, timeout: timeout}
}

// Ask runs az, whose answer is one JSON document. The error is an envelope: with
// [contracts.CodeUnauthenticated] when nobody is signed in or Azure wants a new sign-in,
// with [contracts.CodeDenied] when the user may not ask, with [contracts.CodeNotFound]
// when what is asked about is not there, with [contracts.CodeUnavailable] when there was
// no answer in time.
func (p *Program) Ask(ctx context.Context, answer any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	command := exec.CommandContext(ctx, p.path, args...)
	command.Env = p.environ
	command.WaitDelay = time.Second // az is a script whose children may hold the pipes
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	asked := "az " + strings.Join(words(args), " ")
	said := strings.TrimSpace(stderr.String())
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("%s has not answered for %v", asked, p.timeout), Hint: "try it: " + asked}
	case err != nil:
		return refusal(asked, said, err)
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return (&contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
			Message: asked + " answers something that is not the JSON expected: " + err.Error(), Hint: "try it: " + asked}).Because(err)
	}
	return nil
}

// words are those that name a command of az.
func words(args []string) []string {
	end := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if end < 0 {
		return args
	}
	return args[:end]
}

// refusal is the error for an az that failed and said why.
func refusal(asked, said string, err error) error {
	reason := err.Error()
	for line := range strings.Lines(said) {
		if after, ok := strings.CutPrefix(line, "ERROR: "); ok {
			reason = strings.TrimSpace(after)
			break
		}
	}
	e := &contracts.Error{Code: contracts.CodeFailed, Stage: contracts.StageProvision,
		Message: asked + ": " + reason, Hint: "try it: " + asked, StderrTail: last(said)}
	switch {
	case strings.Contains(said, "AADSTS"): // of Microsoft Entra, which signs in
		sentence, _, _ := strings.Cut(said[strings.Index(said, "AADSTS"):], ". ")
		e = signIn("Azure wants a new sign-in: " + firstLine(sentence))
	case strings.Contains(said, "az login"):
		e = signIn("nobody is signed in to Azure")
	case strings.Contains(said, "AuthorizationFailed") || strings.Contains(said, "Authorization_RequestDenied"):
		e.Code, e.Hint = contracts.CodeDenied, "ask the subscription's owner for the role Reader"
	case strings.Contains(said, "NotFound)"): // as in (ResourceGroupNotFound)
		e.Code = contracts.CodeNotFound
	case strings.Contains(said, "Connection") || strings.Contains(said, "timed out") || strings.Contains(said, "Max retries exceeded"):
		e.Code, e.Hint = contracts.CodeUnavailable, "check the network, its proxy and its firewalls"
	}
	return e.Because(err)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

func signIn(message string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageProvision, Message: message, Hint: "sign in: az login"}
}

// last is the end of a text, as much as an envelope holds of it.
func last(text string) string {
	const most = 4 << 10
	return text[max(0, len(text)-most):]
}
