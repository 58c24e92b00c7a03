package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// project makes a project whose study has one task, and goes there.
func (u *user) project(name string) *user {
	u.t.Helper()
	u.ok("modelops-bundle", "init", name, "--template", "minimal")
	p := u.cd(filepath.Base(name))
	p.write("study.json", `{"model":"model.sir","scenario":"baseline","parameter_sets":[{"params":{"beta":0.3}}]}`)
	return p
}

// shows runs a command that must fail, in text and in JSON, with the exit code, the error
// code, each of the texts, and a hint.
func (u *user) shows(exit int, code string, texts []string, name string, args ...string) {
	u.t.Helper()
	e := u.envelope(exit, name, args...)
	if e["code"] != code {
		u.t.Errorf("%s %v: code %v, want %s: %v", name, args, e["code"], code, e["message"])
	}
	if hint, _ := e["hint"].(string); hint == "" {
		u.t.Errorf("%s %v: no hint: %v", name, args, e)
	}
	out, errs, got := u.run(name, args...)
	if got != exit {
		u.t.Errorf("%s %v: exit code %d, want %d\n%s", name, args, got, exit, errs)
	}
	if !strings.Contains(errs, "error: ") || !strings.Contains(errs, "hint: ") {
		u.t.Errorf("%s %v: no error or hint on stderr:\n%s%s", name, args, out, errs)
	}
	whole := fmt.Sprint(e)
	for _, text := range texts {
		if !strings.Contains(whole, text) || !strings.Contains(errs, text) {
			u.t.Errorf("%s %v: no %q in %s\nnor in\n%s", name, args, text, whole, errs)
		}
	}
}

// What a model does wrong reaches the terminal as it was.
func TestTrueCauseOfTheModel(t *testing.T) {
	u := newUser(t).up()
	for name, c := range map[string]struct {
		wire  string
		code  string
		texts []string
	}{
		"import error":       {"import starsim_is_not_here\n\ndef wire(e, p, s):\n    return {}\n", "import_error", []string{"No module named 'starsim_is_not_here'"}},
		"import error below": {"from model import sir\nimport model.broken\n\ndef wire(e, p, s):\n    return {}\n", "import_error", []string{"model.broken"}},
		"syntax error":       {"def wire(e, p, s)\n", "import_error", []string{"wire.py"}},
		"no such function":   {"def other(e, p, s):\n    return {}\n", "wire_missing", []string{"wire"}},
		"exception":          {"def wire(e, p, s):\n    return {'x': compute(p)}\n\ndef compute(p):\n    raise ValueError('beta is not plausible')\n", "model_error", []string{"beta is not plausible", "ValueError", "in compute"}},
		"key error":          {"def wire(e, p, s):\n    return {'x': p['incidence']}\n", "model_error", []string{"KeyError", "incidence"}},
		"killed by a signal": {"import os, signal, sys\n\ndef wire(e, p, s):\n    print('last words', file=sys.stderr, flush=True)\n    os.kill(os.getpid(), signal.SIGSEGV)\n", "process_signal", []string{"SIGSEGV", "last words"}},
		"os exit":            {"import os\n\ndef wire(e, p, s):\n    os._exit(3)\n", "process_exit", []string{"exit code 3"}},
		"empty with error":   {"import json\n\ndef wire(e, p, s):\n    return {'table': b'', 'metadata': json.dumps({'error': 'Model models.sir not found in registry'}).encode()}\n", "output_error", []string{"Model models.sir not found in registry"}},
		"not bytes":          {"def wire(e, p, s):\n    return {'x': 5}\n", "output_error", []string{"int"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := *u
			v.t = t
			p := v.project("p-" + strings.ReplaceAll(strings.Trim(strings.ToLower(name), "."), " ", "-"))
			p.write("wire.py", c.wire)
			p.shows(1, c.code, c.texts, "mops", "jobs", "submit", "study.json", "--wait")
		})
	}
}

// What a model prints, and wherever, harms nothing.
func TestPrintingModel(t *testing.T) {
	p := newUser(t).up().project("printing")
	p.write("wire.py", "import os, sys\nprint('at import')\nos.write(1, b'Content-Length: 5\\r\\n\\r\\nhello')\n\n"+
		"def wire(e, p, s):\n    print('x' * 1_000_000)\n    os.write(1, b'\\x00\\xff' * 100_000)\n    sys.stderr.write('y' * 1_000_000)\n    os.system('echo from a child')\n    return {'x': b'a,b\\n1,2\\n'}\n")
	p.submit("printing")
}

func TestTrueCauseOfTheSurroundings(t *testing.T) {
	u := newUser(t)
	u.write("study.json", `{"model":"a.b","scenario":"baseline","parameter_sets":[{"x":1}]}`)
	u.shows(3, "environment_not_found", []string{"mops infra up"}, "modelops-bundle", "init", "x")
	u.shows(2, "invalid_name", []string{"use my-model"}, "modelops-bundle", "init", "My Model")
	u.up()
	u.shows(3, "project_not_found", nil, "mops", "jobs", "submit", "study.json")
	p := u.project("seir")
	p.write("broken.json", `{"model":"model.sir","parameter_sets":[{"beta":1},{"params":{"x":NaN}}]}`)
	p.shows(1, "invalid_study", []string{"broken.json"}, "mops", "jobs", "submit", "broken.json")
	p.write("missing.json", `{"model":"model.sir","parameter_sets":[{"beta":1}]}`)
	p.shows(1, "invalid_study", []string{"scenario"}, "mops", "jobs", "submit", "missing.json")
	p.shows(3, "not_found", []string{"nosuch.json"}, "mops", "jobs", "submit", "nosuch.json")
	unknown := "seir@sha256:" + strings.Repeat("a", 64)
	p.shows(3, "bundle_not_found", []string{unknown}, "mops", "jobs", "submit", "study.json", "--bundle", unknown)
	p.shows(3, "bundle_not_found", []string{unknown}, "bundle-worker", "ensure-local", unknown, "--quiet")
	p.shows(2, "invalid_reference", []string{"names no digest"}, "bundle-worker", "ensure-local", "seir:latest", "--quiet")

	if err := os.Remove(filepath.Join(p.dir, "wire.py")); err != nil {
		t.Fatal(err)
	}
	p.shows(1, "wire_missing", []string{"wire.py"}, "mops", "jobs", "submit", "study.json")
	if out := p.ok("mops", "jobs", "list", "--json"); strings.Contains(out, "job-") {
		t.Errorf("a job was made: %s", out)
	}

	registry := bundletest.NewRegistry(t)
	registry.RequireLogin("user", "right")
	p.copyEnvironment("local", "locked", registry.Host)
	p.shows(4, "unauthenticated", []string{"refuses access"}, "modelops-bundle", "push", "--env", "locked")
	p.write("wire.py", "def wire(e, p, s):\n    return {}\n")
	p.shows(4, "unauthenticated", []string{"refuses access"}, "mops", "jobs", "submit", "study.json", "--env", "locked")

	file := filepath.Join(u.suite(), "bundle-env", "bad.yaml")
	if err := os.WriteFile(file, []byte("environment: bad\nregistry: {provider: dockerhub, login_server: 'https://x'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"modelops-bundle", "push"}, {"mops", "jobs", "submit", "study.json"}} {
		p.shows(1, "invalid_environment", []string{"bad.yaml", "registry.provider", "registry.login_server"}, command[0], append(command[1:], "--env", "bad")...)
	}

	u.ok("mops", "infra", "down")
	p.env = append(p.env, "MODELOPS_ENV=local")
	p.shows(7, "unavailable", []string{"does not answer", "mops infra up"}, "modelops-bundle", "push")
	p.shows(7, "unavailable", []string{"does not answer", "mops infra up"}, "mops", "jobs", "submit", "study.json")
	p.shows(7, "unavailable", []string{"does not answer"}, "bundle-worker", "ensure-local", unknown, "--quiet")
}
