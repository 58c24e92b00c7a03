//go:build unix

package environment_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTrust is envfs02, envfs04 and envfs05 of the hostile corpus.
func TestTrust(t *testing.T) {
	for _, test := range []struct {
		name    string
		spoil   func(t *testing.T, dir string, store environment.Store)
		message string
	}{
		{"directory for everybody", func(t *testing.T, _ string, s environment.Store) { must(t, os.Chmod(s.Dir(), 0o777)) }, "is writable by everybody (mode 0777)"},
		{"home for everybody", func(t *testing.T, dir string, _ environment.Store) { must(t, os.Chmod(dir, 0o777)) }, "is writable by everybody (mode 0777)"},
		{"file for everybody", func(t *testing.T, _ string, s environment.Store) { must(t, os.Chmod(s.Path("dev"), 0o666)) }, "is writable by everybody (mode 0666)"},
		{"link", func(t *testing.T, _ string, s environment.Store) {
			must(t, os.Remove(s.Path("dev")))
			must(t, os.Symlink("/etc/passwd", s.Path("dev")))
		}, "is a symbolic link"},
		{"pipe", func(t *testing.T, _ string, s environment.Store) {
			must(t, os.Remove(s.Path("dev")))
			must(t, syscall.Mkfifo(s.Path("dev"), 0o600))
		}, "is a named pipe, not a file"},
		{"directory as file", func(t *testing.T, _ string, s environment.Store) {
			must(t, os.Remove(s.Path("dev")))
			must(t, os.Mkdir(s.Path("dev"), 0o700))
		}, "is a directory, not a file"},
		{"link to a device", func(t *testing.T, _ string, s environment.Store) {
			must(t, os.Remove(s.Path("dev")))
			must(t, os.Symlink("/dev/zero", s.Path("dev")))
		}, "is a symbolic link"},
		{"too large", func(t *testing.T, _ string, s environment.Store) {
			write(t, s.Path("dev"), "environment: dev\n"+valid+"#"+strings.Repeat("x", 64<<10))
		}, "has 65537 bytes"},
		{"directory that is a file", func(t *testing.T, _ string, s environment.Store) {
			must(t, os.RemoveAll(s.Dir()))
			write(t, s.Dir(), "")
		}, "is not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, store := home(t, "dev")
			test.spoil(t, dir, store)
			_, err := store.Load("dev")
			wantError(t, err, contracts.CodeInvalidEnvironment, test.message, "")
		})
	}
}

// TestForeignOwner is envfs03 and envfs05. Only root can make a file of somebody else's.
func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nobody else's files can be made here")
		return
	}
	dir, store := home(t, "dev")
	must(t, os.Chown(store.Path("dev"), 4242, 4242))
	_, err := store.Load("dev")
	wantError(t, err, contracts.CodeInvalidEnvironment, "belongs to user 4242, and this is user 0", "chown")
	must(t, os.Chown(store.Path("dev"), 0, 0))
	must(t, os.Chown(dir, 4242, 4242))
	_, err = store.Load("dev")
	wantError(t, err, contracts.CodeInvalidEnvironment, "belongs to user 4242", "")
	_, err = store.Save(&contracts.BundleEnvironment{Environment: "new", Registry: contracts.Registry{Provider: "docker", LoginServer: "localhost:1"}})
	wantError(t, err, contracts.CodeInvalidEnvironment, "belongs to user 4242", "")

	// A link to an attacker's directory.
	attacker := t.TempDir()
	must(t, os.Chown(attacker, 4242, 4242))
	link := filepath.Join(t.TempDir(), ".modelops")
	must(t, os.Symlink(attacker, link))
	_, err = environment.Open(link).Load("dev")
	wantError(t, err, contracts.CodeInvalidEnvironment, "belongs to user 4242", "")
}

func TestSecretsSeenByOthers(t *testing.T) {
	_, store := home(t, "dev")
	write(t, store.Path("dev"), "environment: dev\n"+valid+"  username: u\n  password: p\n")
	must(t, os.Chmod(store.Path("dev"), 0o644))
	loaded, err := store.Load("dev")
	if err != nil || len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0].Hint, "chmod 600") {
		t.Errorf("%+v %v", loaded, err)
	}
	must(t, os.Chmod(store.Path("dev"), 0o600))
	loaded, err = store.Load("dev")
	if err != nil || len(loaded.Warnings) != 0 {
		t.Errorf("%+v %v", loaded, err)
	}
}

// TestMountedFile reads one as Kubernetes mounts it: through links, whoever owns it.
func TestMountedFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "..data"), 0o755))
	write(t, filepath.Join(dir, "..data", "dev.yaml"), "environment: dev\n"+valid)
	must(t, os.Symlink("..data/dev.yaml", filepath.Join(dir, "dev.yaml")))
	loaded, err := environment.LoadFile(filepath.Join(dir, "dev.yaml"))
	if err != nil || loaded.Env.Environment != "dev" {
		t.Errorf("%+v %v", loaded, err)
	}
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	_, err = environment.LoadFile(filepath.Join(dir, "pipe"))
	wantError(t, err, contracts.CodeInvalidEnvironment, "is a named pipe", "")
}

// TestUnreadableIsNotAbsent: an error reading is never taken for an absence.
func TestUnreadableIsNotAbsent(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop.yaml")
	must(t, os.Symlink(loop, loop))
	_, err := environment.LoadFile(loop)
	wantError(t, err, contracts.CodeFailed, "too many levels of symbolic links", "")
}
