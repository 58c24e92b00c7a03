//go:build unix

package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestCollectorSpills(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	small, large := strings.Repeat("a,b\n1,2\n", 10), strings.Repeat("a,b\n1,2\n", 300_000)
	write(t, filepath.Join(from, "sub", "large.csv"), large)
	write(t, filepath.Join(from, "small"), small)
	c := &Collector{Dir: dir, MaxOutput: 1 << 30}
	if err := c.Directory(from); err != nil {
		t.Fatal(err)
	}
	if err := c.Bytes("again", []byte(large)); err != nil {
		t.Fatal(err)
	}
	outputs, err := c.Result()
	if err != nil {
		t.Fatal(err)
	}
	want := contracts.NewArtifact("text/csv", []byte(large))
	for _, name := range []string{"sub/large.csv", "again"} {
		got := outputs[name]
		if got.Ref != "file:"+want.Checksum || got.Checksum != want.Checksum || got.Size != want.Size || got.ContentType != "text/csv" || got.Inline != nil {
			t.Errorf("%s is %+v", name, got)
		}
	}
	if outputs["small"].Ref != "" {
		t.Error("a small output is not inline")
	}
	data, err := os.ReadFile(filepath.Join(dir, want.Checksum))
	if err != nil || string(data) != large {
		t.Errorf("%d bytes are stored: %v", len(data), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left: %v", len(entries), err)
	}
}

func TestCollectorKeepsWhatIsAskedFor(t *testing.T) {
	c := &Collector{MaxOutput: 10, Only: []string{"a"}}
	for _, name := range []string{"a", "b"} {
		if err := c.Bytes(name, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	outputs, err := c.Result()
	if err != nil || len(outputs) != 1 {
		t.Errorf("%v %v", outputs, err)
	}
	c.Only = []string{"a", "c"}
	_, err = c.Result()
	if e := contracts.AsError(err); e == nil || !strings.Contains(e.Message, `no output "c"; it answered "a, b"`) {
		t.Errorf("got %v", err)
	}
}

func TestCommand(t *testing.T) {
	for name, test := range map[string]struct {
		script  string
		outputs map[string]string
		code    contracts.Code
		message string
	}{
		"reads the task":        {script: `cat > "$MODELOPS_OUTPUT_DIR/task"; mkdir "$MODELOPS_OUTPUT_DIR/sub"; echo 1 > "$MODELOPS_OUTPUT_DIR/sub/x.csv"; echo log`, outputs: map[string]string{"sub/x.csv": "1\n"}},
		"ignores it":            {script: `echo 1 > "$MODELOPS_OUTPUT_DIR/a"`, outputs: map[string]string{"a": "1\n"}},
		"fails":                 {script: `echo why >&2; exit 9`, code: contracts.CodeExit, message: "exit code 9"},
		"is killed":             {script: `kill -TERM $$`, code: contracts.CodeSignal, message: "SIGTERM"},
		"no output":             {script: `true`, code: contracts.CodeOutput, message: "without an output"},
		"a link":                {script: `ln -s /etc/passwd "$MODELOPS_OUTPUT_DIR/a"`, code: contracts.CodeOutput, message: "symbolic link"},
		"reads nothing of ours": {script: `env | grep -i -E 'canary|registry' && exit 1; echo 1 > "$MODELOPS_OUTPUT_DIR/a"`, outputs: map[string]string{"a": "1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			collect := &Collector{MaxOutput: 1 << 20}
			l := CommandLaunch{Supervisor: supervisor(t), Command: []string{"./run.sh"}, Bundle: dir, Environ: append(os.Environ(), "REGISTRY_PASSWORD=canary")}
			output, err := RunCommand(t.Context(), l, task(t, `{"beta":0.5}`, 18446744073709551615), collect)
			var artifacts map[string]contracts.Artifact
			if err == nil {
				artifacts, err = collect.Result()
			}
			if e := contracts.AsError(err); test.code != "" {
				if e == nil || e.Code != test.code || !strings.Contains(e.Message, test.message) {
					t.Errorf("got %+v", e)
				}
				if name == "fails" && (e.StderrTail != "why\n" || output != "why\n") {
					t.Errorf("its output is %q", e.StderrTail)
				}
				return
			} else if e != nil {
				t.Fatalf("%+v\n%s", e, output)
			}
			if name == "reads the task" {
				got, err := contracts.ParseTask(artifacts["task"].Inline)
				if err == nil && (got.Seed != 18446744073709551615 || got.Params.Values["beta"].Text() != "0.5") {
					t.Errorf("the task was %s", artifacts["task"].Inline)
				}
				delete(artifacts, "task")
			}
			got := map[string]string{}
			for name, a := range artifacts {
				got[name] = string(a.Inline)
			}
			if diff := cmp.Diff(test.outputs, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain.sh"), "echo\n")
	if err := os.WriteFile(filepath.Join(dir, "interpreter.sh"), []byte("#!/nonexistent/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"no-such-program-here": `command "no-such-program-here" is not on this worker's PATH`,
		"./none":               "no such file",
		"./plain.sh":           "permission denied",
		"./interpreter.sh":     "no such file",
	} {
		_, err := RunCommand(t.Context(), CommandLaunch{Supervisor: supervisor(t), Command: []string{command}, Bundle: dir}, task(t, `{}`, 1), &Collector{MaxOutput: 1})
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeDependencies || !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("%s: %+v", command, e)
		}
	}
}
