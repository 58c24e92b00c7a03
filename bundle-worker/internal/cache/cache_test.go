//go:build unix

package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// The test binary is also a process that fetches: CACHE_TEST_FETCH holds root, registry
// and reference.
func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv("CACHE_TEST_FETCH")); len(args) == 3 {
		os.Exit(fetchProcess(args[0], args[1], args[2]))
	}
	os.Exit(m.Run())
}

func fetchProcess(root, registry, reference string) int {
	ref, err := contracts.ParseBundleRef(reference)
	if err == nil {
		var e *Entry
		if e, err = ensure(root, registry, ref); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(e)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func ensure(root, registry string, ref contracts.BundleRef) (*Entry, error) {
	c, err := Open(root)
	if err != nil {
		return nil, err
	}
	repo, err := bundleoci.Open(environmentOf(registry), ref.Repository, bundleoci.Options{})
	if err != nil {
		return nil, err
	}
	return c.Ensure(context.Background(), ref, repo)
}

func environmentOf(host string) *contracts.BundleEnvironment {
	return &contracts.BundleEnvironment{Environment: "test", Registry: contracts.Registry{Provider: "docker", LoginServer: host}}
}

// testNode is a registry with a bundle in it, and a root.
type testNode struct {
	t        *testing.T
	registry *bundletest.Registry
	ref      contracts.BundleRef
	root     string
}

func newNode(t *testing.T) *testNode {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	files := bundletest.Files{"wire.py": "def wire(e, p, s): return {}\n", "run.sh*": "#!/bin/sh\n", "empty": "", "a/b/c.txt": "deep"}
	for i := range 40 {
		files[fmt.Sprintf("src/m%02d.py", i)] = strings.Repeat(fmt.Sprintf("line %d\n", i), 3000)
	}
	large := make([]byte, 9<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(large)
	files["data/large.bin"] = string(large)
	registry := bundletest.NewRegistry(t)
	n := &testNode{t: t, registry: registry, ref: bundletest.Push(t, registry, "team/seir", files), root: filepath.Join(t.TempDir(), "cache")}
	t.Cleanup(func() { removeTree(n.root) })
	registry.Requests()
	return n
}

func (n *testNode) ensure() *Entry {
	n.t.Helper()
	e, err := ensure(n.root, n.registry.Host, n.ref)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(e.Release)
	return e
}

// whole holds the tree against the digest with eyes of its own.
func (n *testNode) whole(path string) {
	n.t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer root.Close()
	repo, err := bundleoci.Open(n.registry.Environment(), n.ref.Repository, bundleoci.Options{})
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := repo.Fetch(context.Background(), n.ref.Digest)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range b.Index.Files {
		if err := hashFile(root, b.Index, f); err != nil {
			n.t.Errorf("%s %v", f.Path, err)
		}
	}
}

func (n *testNode) command() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("CACHE_TEST_FETCH=%s %s %s", n.root, n.registry.Host, n.ref))
	return cmd
}

func TestEnsure(t *testing.T) {
	n := newNode(t)
	first := n.ensure()
	if first.Cached || first.BytesFetched == 0 || first.Files != 45 || first.Digest != n.ref.Digest || first.Content == "" {
		t.Errorf("%+v", first)
	}
	if want := filepath.Join(n.root, "bundles", n.ref.Digest.Short()); first.Path != want {
		t.Errorf("path %s, want %s", first.Path, want)
	}
	n.whole(first.Path)
	n.registry.Requests()
	again := n.ensure()
	if !again.Cached || again.BytesFetched != 0 || again.Files != 45 || again.Content != first.Content {
		t.Errorf("%+v", again)
	}
	if log := n.registry.Requests(); len(log) != 0 {
		t.Errorf("what is here asked the registry: %q", log)
	}
	err := filepath.WalkDir(first.Path, func(p string, entry fs.DirEntry, err error) error {
		info, infoErr := entry.Info()
		if infoErr == nil && info.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s may be written", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	n.registry.Stop()
	if e := n.ensure(); !e.Cached {
		t.Error("a hit needs the registry")
	}
}

func TestOneDownloadForAll(t *testing.T) {
	n := newNode(t)
	const processes = 16
	var commands [processes]*exec.Cmd
	var out [processes]strings.Builder
	for i := range commands {
		commands[i] = n.command()
		commands[i].Stdout, commands[i].Stderr = &out[i], os.Stderr
		if err := commands[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	fetched := 0
	for i, cmd := range commands {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		var e Entry
		if err := json.Unmarshal([]byte(out[i].String()), &e); err != nil {
			t.Errorf("%q: %v", out[i].String(), err)
		}
		if !e.Cached {
			fetched++
		}
	}
	if fetched != 1 {
		t.Errorf("%d processes fetched", fetched)
	}
	seen := map[string]int{}
	for _, request := range n.registry.Requests() {
		if strings.Contains(request, "/blobs/") {
			seen[request]++
		}
	}
	for request, times := range seen {
		if times > 1 {
			t.Errorf("%s %d times", request, times)
		}
	}
}

func TestKilledAtAnyMoment(t *testing.T) {
	n := newNode(t)
	for i := range 40 {
		var commands [3]*exec.Cmd
		for j := range commands {
			commands[j] = n.command()
			if err := commands[j].Start(); err != nil {
				t.Fatal(err)
			}
		}
		timer := time.AfterFunc(time.Duration(i)*4*time.Millisecond, func() {
			for _, cmd := range commands {
				_ = cmd.Process.Kill()
			}
		})
		for _, cmd := range commands {
			_ = cmd.Wait()
		}
		timer.Stop()
		e := n.ensure()
		n.whole(e.Path)
		e.Release()
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
		if i%2 == 1 { // begin from nothing every other time
			c, err := Open(n.root)
			if err != nil {
				t.Fatal(err)
			}
			if gone, err := c.Collect(context.Background(), CollectOptions{MaxBytes: 1}); err != nil || len(gone) != 1 {
				t.Fatalf("%v, %v", gone, err)
			}
			if left, _ := os.ReadDir(filepath.Join(n.root, ingestDir)); len(left) != 0 {
				t.Errorf("%d leftovers after collecting", len(left))
			}
		}
	}
}

func TestChangesAreNoticedAndMended(t *testing.T) {
	for name, change := range map[string]func(tree string) error{
		"one bit": func(tree string) error {
			return rewrite(tree, "data/large.bin", func(data []byte) []byte { data[5<<20] ^= 1; return data })
		},
		"truncated": func(tree string) error {
			return rewrite(tree, "wire.py", func(data []byte) []byte { return data[:3] })
		},
		"emptied": func(tree string) error { return rewrite(tree, "a/b/c.txt", func([]byte) []byte { return nil }) },
		"deleted": func(tree string) error {
			return inDir(tree, "src", func() error { return os.Remove(filepath.Join(tree, "src/m07.py")) })
		},
		"added": func(tree string) error {
			return inDir(tree, "src", func() error { return os.WriteFile(filepath.Join(tree, "src/extra.py"), nil, 0o444) })
		},
		"executable": func(tree string) error { return os.Chmod(filepath.Join(tree, "wire.py"), 0o555) },
		"a link": func(tree string) error {
			return inDir(tree, "a/b", func() error {
				if err := os.Remove(filepath.Join(tree, "a/b/c.txt")); err != nil {
					return err
				}
				return os.Symlink("/etc/passwd", filepath.Join(tree, "a/b/c.txt"))
			})
		},
		"the whole directory": func(tree string) error { removeTree(tree); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			e := n.ensure()
			e.Release()
			if err := change(e.Path); err != nil {
				t.Fatal(err)
			}
			mended := n.ensure()
			if mended.Cached || mended.Path != e.Path {
				t.Errorf("%+v", mended)
			}
			n.whole(mended.Path)
			if _, err := os.Lstat(filepath.Join(mended.Path, "src/extra.py")); err == nil {
				t.Error("the added file is still there")
			}
		})
	}
}

// A file rewritten in place, with its times set back, is found by a whole hash.
func TestVerify(t *testing.T) {
	n := newNode(t)
	e := n.ensure()
	c, err := Open(n.root)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(context.Background(), n.ref.Digest); err != nil {
		t.Error(err)
	}
	if err := rewrite(e.Path, "wire.py", func(data []byte) []byte { data[0] = 'x'; return data }); err != nil {
		t.Fatal(err)
	}
	err = c.Verify(context.Background(), n.ref.Digest)
	if contracts.AsError(err).Code != contracts.CodeIntegrity || !strings.Contains(err.Error(), "wire.py") {
		t.Errorf("%v", err)
	}
	n.whole(n.ensure().Path)
}

// After a reboot nothing is believed unseen, and what is right stays.
func TestReboot(t *testing.T) {
	n := newNode(t)
	n.ensure().Release()
	path := filepath.Join(n.root, metaDir, n.ref.Digest.Hex())
	r, err := readRecord(path, n.ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	r.boot = "another boot"
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	if e := n.ensure(); !e.Cached {
		t.Error("fetched again")
	}
	if r, err = readRecord(path, n.ref.Digest); err != nil || r.boot != bootID() {
		t.Errorf("%v, %v", r, err)
	}
}

func TestTreesThatAreNotOurs(t *testing.T) {
	n := newNode(t)
	foreign := filepath.Join(n.root, bundlesDir, n.ref.Digest.Short())
	if err := os.MkdirAll(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(n.root, 0o700); err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(foreign, "canary")
	if err := os.WriteFile(canary, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := n.ensure()
	if e.Path != filepath.Join(n.root, bundlesDir, n.ref.Digest.Hex()) {
		t.Errorf("path %s", e.Path)
	}
	n.whole(e.Path)
	if data, err := os.ReadFile(canary); err != nil || string(data) != "mine" {
		t.Errorf("the foreign tree was touched: %v", err)
	}
}

// Two bundles whose digests begin alike do not meet.
func TestTwinDigests(t *testing.T) {
	n := newNode(t)
	twin := contracts.Digest("sha256:" + n.ref.Digest.Short() + strings.Repeat("0", 52))
	e := n.ensure()
	c, err := Open(n.root)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := c.place(twin)
	if err != nil || dir != twin.Hex() {
		t.Errorf("the twin goes to %s, %v", dir, err)
	}
	if err := os.WriteFile(c.pendingPath(twin), []byte(n.ref.Digest.Short()), 0o600); err != nil {
		t.Fatal(err)
	}
	if dir, err = c.place(twin); err != nil || dir != twin.Hex() {
		t.Errorf("a marker that lies: the twin goes to %s, %v", dir, err)
	}
	n.whole(e.Path)
}

func TestCollect(t *testing.T) {
	n := newNode(t)
	e := n.ensure()
	c, err := Open(n.root)
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Collect(context.Background(), CollectOptions{MaxBytes: 1}); err != nil || len(gone) != 0 {
		t.Errorf("a bundle in use was collected: %v, %v", gone, err)
	}
	e.Release()
	if gone, err := c.Collect(context.Background(), CollectOptions{MaxBytes: 1, DryRun: true}); err != nil || len(gone) != 1 {
		t.Errorf("%v, %v", gone, err)
	}
	if _, err := os.Stat(e.Path); err != nil {
		t.Errorf("a dry run removed it: %v", err)
	}
	if gone, err := c.Collect(context.Background(), CollectOptions{OlderThan: time.Hour}); err != nil || len(gone) != 0 {
		t.Errorf("a fresh bundle was collected: %v, %v", gone, err)
	}
	if gone, err := c.Collect(context.Background(), CollectOptions{MaxBytes: 1}); err != nil || len(gone) != 1 {
		t.Errorf("%v, %v", gone, err)
	}
	if infos, err := c.List(); err != nil || len(infos) != 0 {
		t.Errorf("%v, %v", infos, err)
	}
	n.whole(n.ensure().Path)
}

func rewrite(tree, name string, change func([]byte) []byte) error {
	path := filepath.Join(tree, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, change(data), 0o644), os.Chmod(path, 0o444))
}

func inDir(tree, name string, change func() error) error {
	path := filepath.Join(tree, name)
	return errors.Join(os.Chmod(path, 0o755), change(), os.Chmod(path, 0o555))
}
