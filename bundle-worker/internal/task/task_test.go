//go:build unix

package task

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestLast(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"short\n", "short\n"},
		{"first line\nsecond\n", "second\n"},
		{"ééééééééééé", "ééééé"},
		{"one long line\n", " long line\n"},
	} {
		if got := last(test.text, 11); got != test.want {
			t.Errorf("%q ends in %q, want %q", test.text, got, test.want)
		}
	}
}

func TestCheckPython(t *testing.T) {
	for version, ok := range map[string]bool{"3.9.0": true, "3.13.1": true, "3.14.0rc1": true, "4.0": true, "3.8.18": false, "2.7.18": false, "": false} {
		err := checkPython(version)
		if (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		}
		if err != nil && contracts.AsError(err).Code != contracts.CodeDependencies {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// A script called python3, as pyenv and asdf install, is asked for the interpreter once,
// with the worker's own variables and away from the bundle.
func TestResolveInterpreter(t *testing.T) {
	real, err := resolveInterpreter(context.Background(), "/bin/sh")
	if err != nil || real != "/bin/sh" {
		t.Errorf("a program is %q, %v", real, err)
	}
	script := filepath.Join(t.TempDir(), "python3")
	t.Setenv("CHOOSES", "/opt/python/bin/python3")
	write := func(body string) {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(`[ "$PWD" = / ] && echo "$CHOOSES"`)
	if got, err := resolveInterpreter(context.Background(), script); err != nil || got != "/opt/python/bin/python3" {
		t.Errorf("the script chooses %q, %v", got, err)
	}
	write(`echo "no version is set" >&2; exit 1`)
	_, err = resolveInterpreter(context.Background(), script)
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeDependencies || !strings.Contains(e.StderrTail, "no version is set") {
		t.Errorf("got %+v", e)
	}
}

func TestPlatform(t *testing.T) {
	if got := platform(); !strings.HasPrefix(got, runtime.GOOS+"-") || strings.Contains(got, "amd64") {
		t.Errorf("it is %s", got)
	}
}
