//go:build unix

package cache

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

const nobody = 65534

// TestReadOnly fills a cache, takes every right to write to it away, and uses it. Root has
// rights that cannot be taken away, so then somebody else does all of it.
func TestReadOnly(t *testing.T) {
	n := newNode(t)
	top := filepath.Dir(n.root)
	program := filepath.Join(top, "fetch")
	data, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(program, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.root, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		giveAway(t, n.root)
	}
	fetch := func() (string, error) { return n.fetchAsNobody(program) }
	if out, err := fetch(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	takeRights(t, n.root)
	other := bundletest.Push(t, n.registry, "other", bundletest.Files{"wire.py": "other"})
	n.registry.Requests()
	out, err := fetch()
	if err != nil || !strings.Contains(out, `"Cached":true`) {
		t.Errorf("%v: %s", err, out)
	}
	if log := n.registry.Requests(); len(log) != 0 {
		t.Errorf("it asked the registry: %q", log)
	}
	n.ref = other
	if out, err := fetch(); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("a miss: %v: %s", err, out)
	}
}

// fetchAsNobody runs the process that fetches, as somebody without rights when this is root.
// It answers with what it wrote, or with its error when it failed.
func (n *testNode) fetchAsNobody(program string) (string, error) {
	cmd := n.command()
	cmd.Path = program
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Env = append(cmd.Env, "HOME=/nonexistent", "DOCKER_CONFIG=/nonexistent")
	}
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr), err
	}
	return string(out), err
}

// giveAway makes the root nobody's, and the way to it passable.
func giveAway(t *testing.T, root string) {
	t.Helper()
	top := filepath.Dir(root)
	err := errors.Join(os.Chmod(filepath.Dir(top), 0o755), os.Chmod(top, 0o755), os.Chown(root, nobody, nobody))
	if err != nil {
		t.Fatal(err)
	}
}

// takeRights makes everything below root unwritable. The bundles are already, and a change
// of their times would be noticed.
func takeRights(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || strings.Contains(p, "/"+bundlesDir+"/") {
			return err
		}
		if d.IsDir() {
			return os.Chmod(p, 0o500)
		}
		return os.Chmod(p, 0o400)
	})
	if err != nil {
		t.Fatal(err)
	}
}
