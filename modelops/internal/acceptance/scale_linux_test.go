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

// A hundred thousand files, and a file of two gigabytes most of which is a hole, go to every
// registry and come back, in bounded memory.
func TestScale(t *testing.T) {
	u := newUser(t).up()
	projects := map[string]func(*user){"many": (*user).many, "large": func(u *user) { u.sparse("data/field.bin", 2<<30) }}
	for name := range projects {
		u.ok("modelops-bundle", "init", name, "--template", "command")
		if err := os.Mkdir(filepath.Join(u.dir, name, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	registries := []string{"local"}
	if debian := debianRegistry(t); debian != "" {
		u.environment("debian", debian)
		registries = append(registries, "debian")
	}
	for name, fill := range projects {
		fill(u.cd(name))
		for _, registry := range registries {
			u.roundTrip(name, registry)
		}
	}
}

// roundTrip pushes a project, pushes it again, and pulls it into another directory.
func (u *user) roundTrip(name, registry string) {
	u.t.Helper()
	project, clone := u.cd(name), u.cd("clone")
	var pushed struct {
		Ref       string
		Unchanged bool
	}
	for _, again := range []bool{false, true} {
		project.frugal(&pushed, "modelops-bundle", "push", "--env", registry)
		if pushed.Unchanged != again {
			u.t.Fatalf("%s in %s: %+v", name, registry, pushed)
		}
	}
	u.frugal(nil, "modelops-bundle", "pull", pushed.Ref, clone.dir, "--env", registry)
	if project.listing() != clone.listing() {
		u.t.Errorf("%s in %s: what was pulled is not what was pushed", name, registry)
	}
	if err := os.RemoveAll(clone.dir); err != nil {
		u.t.Fatal(err)
	}
}

// many writes 100,000 files.
func (u *user) many() {
	u.t.Helper()
	for d := range 400 {
		for f := range 250 {
			u.write(fmt.Sprintf("data/part-%03d/record-%03d.json", d, f), fmt.Sprintf("{\"part\": %d, \"record\": %d}\n", d, f))
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

// listing is a digest of the paths and bytes of the files below data.
func (u *user) listing() string {
	u.t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(filepath.Join(u.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
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
