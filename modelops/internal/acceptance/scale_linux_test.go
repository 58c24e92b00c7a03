package acceptance

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// memoryLimit is what a program may have in memory, whatever it moves: MiB.
const memoryLimit = 128

// A hundred thousand files and a file of two gigabytes, most of which is a hole, go to every
// registry and come back, in bounded memory.
func TestScale(t *testing.T) {
	u := newUser(t).up()
	u.ok("modelops-bundle", "init", "large", "--template", "command")
	project := u.cd("large")
	registries := []string{"local"}
	if debian := debianRegistry(t); debian != "" {
		u.environment("debian", debian)
		registries = append(registries, "debian")
	}
	const directories, files = 400, 250
	for d := range directories {
		dir := fmt.Sprintf("data/part-%03d", d)
		if err := os.MkdirAll(filepath.Join(project.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range files {
			project.write(fmt.Sprintf("%s/record-%03d.json", dir, f), fmt.Sprintf("{\"part\": %d, \"record\": %d}\n", d, f))
		}
	}
	project.sparse("data/field.bin", 2<<30)
	for _, name := range registries {
		var pushed struct {
			Ref       string
			Files     int
			Unchanged bool
		}
		for _, again := range []bool{false, true} {
			project.frugal(&pushed, "modelops-bundle", "push", "--env", name)
			if pushed.Files < directories*files || pushed.Unchanged != again {
				t.Fatalf("%s: %+v", name, pushed)
			}
		}
		clone := u.cd("clone-" + name)
		u.frugal(nil, "modelops-bundle", "pull", pushed.Ref, clone.dir, "--env", name)
		if want, got := project.listing(), clone.listing(); want != got {
			t.Errorf("%s: what was pulled is not what was pushed", name)
		}
		if err := os.RemoveAll(clone.dir); err != nil {
			t.Fatal(err)
		}
	}
}

// frugal is json for a command whose memory is bounded.
func (u *user) frugal(doc any, name string, args ...string) {
	u.t.Helper()
	if doc == nil {
		doc = new(any)
	}
	cmd := u.command(name, append(args, "--json")...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		u.t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, errs.String())
	}
	u.decode(out, doc)
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	if u.t.Logf("%v: %d MiB", cmd.Args[1:], peak); peak > memoryLimit {
		u.t.Errorf("%v had %d MiB in memory, and may have %d", cmd.Args[1:], peak, memoryLimit)
	}
}

// sparse writes a file of n bytes which is a hole but for a little at either end and in the
// middle.
func (u *user) sparse(name string, n int64) {
	u.t.Helper()
	f, err := os.Create(filepath.Join(u.dir, name))
	if err != nil {
		u.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(n); err != nil {
		u.t.Fatal(err)
	}
	for _, at := range []int64{0, n/2 - 3, n - 5} {
		if _, err := f.WriteAt([]byte("bytes"), at); err != nil {
			u.t.Fatal(err)
		}
	}
}

// listing is a digest of the paths and bytes of all files but the state.
func (u *user) listing() string {
	u.t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(u.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".modelops-bundle":
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %d\n", path[len(u.dir):], info.Size())
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		u.t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
