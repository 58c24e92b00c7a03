package pulumicli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine/pulumicli"
)

// script makes dir/pulumi a program that answers "pulumi version" so.
func script(t *testing.T, dir, body string) string {
	t.Helper()
	path := filepath.Join(dir, "pulumi")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func says(version string) string { return "test $1 = version && echo " + version }

func TestNamed(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want string // of the error; empty when it is fit
	}{
		"pinned":       {says("v" + pulumicli.Version), ""},
		"without a v":  {says(pulumicli.Version), ""},
		"newer":        {says("v3.999.1"), ""},
		"old":          {says("v3.254.9"), "is version 3.254.9"},
		"pre-release":  {says("v3.255.0-alpha.1"), "is version 3.255.0-alpha.1"},
		"next major":   {says("v4.0.0"), "is version 4.0.0"},
		"no version":   {"echo hello", `does not say its version: "hello"`},
		"fails":        {"echo canary; exit 3", "does not run: exit status 3"},
		"silent":       {"true", `does not say its version: ""`},
		"another kind": {"exec /does/not/exist", "does not run: exit status 127"},
		"inherited":    {`test -z "$PULUMI_ACCESS_TOKEN" && echo v3.255.0`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := script(t, t.TempDir(), test.body)
			c, err := pulumicli.Find(context.Background(), pulumicli.Search{Named: path, NamedBy: "MODELOPS_PULUMI",
				Environ: []string{"PATH=" + os.Getenv("PATH"), "PULUMI_ACCESS_TOKEN=x"},
				Install: func(context.Context, string) error { t.Error("installs beside one that is named"); return nil }})
			if test.want == "" {
				if err != nil || c.Path() != path {
					t.Errorf("%v", err)
				}
				return
			}
			e := contracts.AsError(err)
			if e == nil || e.Code != contracts.CodeUnsupported || !strings.Contains(e.Message, test.want) ||
				!strings.Contains(e.Message, path) || !strings.Contains(e.Message, "MODELOPS_PULUMI") || !strings.Contains(e.Hint, pulumicli.Version) {
				t.Errorf("%+v", e)
			}
		})
	}
	_, err := pulumicli.Find(context.Background(), pulumicli.Search{Named: "/does/not/exist", NamedBy: "pulumi.cli"})
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

func TestFind(t *testing.T) {
	ctx, path, root := context.Background(), t.TempDir(), t.TempDir()
	onPath := script(t, path, says("v3.300.0"))
	search := pulumicli.Search{Environ: []string{"PATH=/does/not/exist::" + path + ":" + os.Getenv("PATH")}, Root: root,
		Install: func(context.Context, string) error { t.Error("installs beside one that fits"); return nil }}
	if c, err := pulumicli.Find(ctx, search); err != nil || c.Path() != onPath || c.Version().String() != "3.300.0" {
		t.Fatalf("%v", err)
	}

	script(t, path, says("v3.1.0")) // now it is too old
	var notes []string
	search.Note = func(line string) { notes = append(notes, line) }
	search.Install = func(context.Context, string) error { return errors.New("dial tcp: no route to host") }
	_, err := pulumicli.Find(ctx, search)
	final := filepath.Join(root, "v"+pulumicli.Version, "bin", "pulumi")
	e := contracts.AsError(err)
	if e == nil || e.Code != contracts.CodeUnavailable || !strings.Contains(e.Message, "no route to host") || !strings.Contains(e.Message, "3.1.0") {
		t.Fatalf("%v", e)
	}
	for _, part := range []string{"https://get.pulumi.com/releases/sdk/pulumi-v" + pulumicli.Version, final, "MODELOPS_PULUMI"} {
		if !strings.Contains(e.Hint, part) {
			t.Errorf("the hint does not say %s: %s", part, e.Hint)
		}
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "installing Pulumi "+pulumicli.Version) {
		t.Errorf("notes: %q", notes)
	}
	if left, _ := filepath.Glob(filepath.Join(root, ".installing-*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}

	// What the installer left is looked at before it counts.
	search.Install = func(_ context.Context, root string) error {
		script(t, filepath.Join(root, "bin"), says("v3.2.0"))
		return nil
	}
	if _, err := pulumicli.Find(ctx, search); err == nil || !strings.Contains(err.Error(), "3.2.0") {
		t.Fatalf("%v", err)
	}

	// Many first runs install once.
	var mu sync.Mutex
	installed := 0
	search.Note = nil
	search.Install = func(_ context.Context, root string) error {
		mu.Lock()
		defer mu.Unlock()
		installed++
		script(t, filepath.Join(root, "bin"), says("v"+pulumicli.Version))
		return nil
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if c, err := pulumicli.Find(ctx, search); err != nil || c.Path() != final {
				t.Errorf("%v", err)
			}
		})
	}
	group.Wait()
	if installed != 1 {
		t.Errorf("installed %d times", installed)
	}
}

// The SDK that is linked, the program that the tests run and the one that is installed
// are of one version.
func TestOneVersion(t *testing.T) {
	for mod, module := range map[string]string{"../../../../go.mod": "sdk", "../../enginetest/cli/go.mod": "pkg"} {
		data, err := os.ReadFile(mod)
		if err != nil {
			t.Fatal(err)
		}
		if want := "github.com/pulumi/pulumi/" + module + "/v3 v" + pulumicli.Version; !strings.Contains(string(data), want) {
			t.Errorf("%s does not have %s", mod, want)
		}
	}
}

// What the program starts and leaves does not outlive it, whatever group it is in.
func TestNothingOutlives(t *testing.T) {
	dir := t.TempDir()
	path := script(t, dir, fmt.Sprintf(`case "$*" in version) echo v%s; exit;; esac
set -m
sleep 600 >/dev/null 2>&1 &
echo $! > %s/child`, pulumicli.Version, dir))
	c, err := pulumicli.Find(context.Background(), pulumicli.Search{Named: path, NamedBy: "the test", Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, code, err := c.Run(context.Background(), dir, nil, nil, nil, nil, "up"); err != nil || code != 0 {
		t.Fatalf("%d %v", code, err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	alive := func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err == nil && !strings.Contains(string(stat), ") Z ") && !strings.Contains(string(stat), ") X ")
	}
	tick, deadline := time.NewTicker(time.Millisecond), time.After(10*time.Second) // it dies a moment after it was killed
	defer tick.Stop()
	for alive() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %s is left behind", pid)
		}
	}
}
