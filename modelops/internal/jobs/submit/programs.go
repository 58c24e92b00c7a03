package submit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

// Programs are the suite's other programs, which do their own part of a submission.
type Programs struct {
	Bundle  string // modelops-bundle, a path
	Worker  string // bundle-worker, a path
	Home    string // the suite's, where they run when no project is meant
	Environ []string
	Stderr  io.Writer // takes the warnings of modelops-bundle

	workerVersion string
}

// Entry is how a bundle is called, as the worker finds it.
type Entry struct {
	Kind   string `json:"kind"` // wire or command
	Name   string `json:"name"`
	Source string `json:"source"`
}

// Change is a file that was added, modified or deleted.
type Change struct {
	Path   string `json:"path"`
	Change string `json:"change"`
}

// check makes sure that the programs speak this program's version of the contract.
func (p *Programs) check(ctx context.Context) error {
	for _, program := range []struct {
		path    string
		version *string
	}{{p.Bundle, new(string)}, {p.Worker, &p.workerVersion}} {
		var build struct{ Version, Contract string }
		if err := p.run(ctx, "", &build, program.path, "--version", "--json"); err != nil {
			return err
		}
		*program.version = build.Version
		if build.Contract != contracts.ContractVersion {
			return &contracts.Error{Code: contracts.CodeContractMismatch, Stage: contracts.StageSubmit,
				Message: fmt.Sprintf("%s speaks version %s of the contract, and mops %s", contracts.Quote(program.path), contracts.Quote(build.Contract), contracts.ContractVersion),
				Hint:    "install the programs of one release into one directory"}
		}
	}
	return nil
}

// push pushes the project under the tag and is the reference that the push answered:
// nothing here knows better which repository that is.
func (p *Programs) push(ctx context.Context, env *environment.Chosen, dir, tag string) (contracts.BundleRef, error) {
	var answer struct {
		Ref contracts.BundleRef `json:"ref"`
	}
	err := p.run(ctx, dir, &answer, p.Bundle, "push", "--json", "--quiet", "--tag", tag, "--env", env.Name)
	return answer.Ref, err
}

// resolve is the one bundle that a reference means.
func (p *Programs) resolve(ctx context.Context, env *environment.Chosen, reference, dir string) (contracts.BundleRef, error) {
	if ref, err := contracts.ParseBundleRef(reference); err == nil {
		return ref, nil
	}
	if _, err := contracts.ParseReference(reference); err != nil {
		return contracts.BundleRef{}, err
	}
	var answer struct {
		Ref contracts.BundleRef `json:"ref"`
	}
	err := p.run(ctx, dir, &answer, p.Bundle, "inspect", reference, "--json", "--quiet", "--env", env.Name)
	return answer.Ref, err
}

// status is what would be pushed: its content digest, "" when that is not told, and the
// files that changed since the last push or pull.
func (p *Programs) status(ctx context.Context, env *environment.Chosen, dir string) (contracts.Digest, []Change, error) {
	var answer struct {
		Content contracts.Digest `json:"content_digest"`
		Changes []Change         `json:"changes"`
	}
	err := p.run(ctx, dir, &answer, p.Bundle, "status", "--offline", "--json", "--quiet", "--env", env.Name)
	for i, change := range answer.Changes { // offline, nothing is changed elsewhere
		answer.Changes[i].Change = strings.TrimSuffix(change.Change, " here")
	}
	return answer.Content, answer.Changes, err
}

// local is a bundle as the worker has it.
type local struct {
	Content contracts.Digest `json:"content_digest"`
	Path    string           `json:"path"`
	Entry   *Entry           `json:"entry"`

	Resources contracts.Resources `json:"resources"`
}

// ensureLocal has the worker fetch the very bytes that the job will run, and look for the
// commands that its tasks need. asked is what the bundle's own resources yield to.
func (p *Programs) ensureLocal(ctx context.Context, env *environment.Chosen, ref contracts.BundleRef, asked contracts.Resources) (local, error) {
	resources, err := json.Marshal(asked)
	if err != nil {
		return local{}, err
	}
	var answer local
	if err := p.run(ctx, "", &answer, p.Worker, "--env-file", env.Path, "ensure-local", ref.String(), "--resources", string(resources), "--json"); err != nil {
		return local{}, err
	}
	if answer.Content == "" {
		return local{}, p.nonsense(p.Worker, "no content_digest")
	}
	return answer, nil
}

// run runs a program that answers with one JSON document, and reads it. What the program
// reports as its error is the error, unchanged.
func (p *Programs) run(ctx context.Context, dir string, answer any, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, p.Environ
	var out, errs bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = &last{b: &errs}
	if path == p.Bundle { // the worker says a lot at its start
		cmd.Stderr = io.MultiWriter(cmd.Stderr, p.Stderr)
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		if err := json.Unmarshal(out.Bytes(), answer); err != nil {
			return p.nonsense(path, err.Error())
		}
		return nil
	}
	var envelope contracts.Envelope
	if json.Unmarshal(out.Bytes(), &envelope) == nil && envelope.Error != nil && envelope.Error.Message != "" {
		return envelope.Error
	}
	code := contracts.CodeFailed
	if _, ended := errors.AsType[*exec.ExitError](err); !ended {
		code = contracts.CodeInternal
	}
	return (&contracts.Error{Code: code, Stage: contracts.StageSubmit,
		Message: filepath.Base(path) + " " + args[0] + ": " + err.Error(), StderrTail: errs.String()}).Because(err)
}

func (p *Programs) nonsense(path, problem string) error {
	return &contracts.Error{Code: contracts.CodeContractMismatch, Stage: contracts.StageSubmit,
		Message: "the answer of " + contracts.Quote(path) + " is not understood: " + problem, Hint: "install the programs of one release into one directory"}
}

// last keeps the end of what is written.
type last struct{ b *bytes.Buffer }

const maxLast = 16 << 10

func (l *last) Write(data []byte) (int, error) {
	l.b.Write(data)
	if extra := l.b.Len() - maxLast; extra > 0 {
		l.b.Next(extra)
	}
	return len(data), nil
}
