package infra_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

func files(t *testing.T) infra.Files {
	at := time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC)
	return infra.Files{Home: t.TempDir(), Now: func() time.Time { at = at.Add(time.Hour); return at }}
}

func outputs(host string) *contracts.BundleEnvironment {
	return &contracts.BundleEnvironment{Environment: "dev", Registry: contracts.Registry{Provider: "docker", LoginServer: host}}
}

func publish(t *testing.T, f infra.Files, host string, want infra.FileState) string {
	t.Helper()
	got, err := f.Publish(outputs(host), false)
	if err != nil || got != want {
		t.Fatalf("%s %v, want %s", got, err, want)
	}
	return read(t, f)
}

func read(t *testing.T, f infra.Files) string {
	t.Helper()
	data, err := environment.Open(f.Home).Read("dev")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func overwrite(t *testing.T, f infra.Files, content string) {
	t.Helper()
	if err := os.WriteFile(environment.Open(f.Home).Path("dev"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, f infra.Files, host string, want infra.FileState) {
	t.Helper()
	if got, err := f.State("dev", outputs(host)); err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
}

func TestPublish(t *testing.T) {
	f := files(t)
	state(t, f, "localhost:1", infra.NoFile)
	first := publish(t, f, "localhost:1", infra.Written)
	if !strings.Contains(first, `timestamp: "2026-01-15T11:30:00Z"`) {
		t.Error(first)
	}
	state(t, f, "localhost:1", infra.Current)
	if again := publish(t, f, "localhost:1", infra.Current); again != first {
		t.Errorf("rewritten without a change:\n%s", again)
	}
	state(t, f, "localhost:2", infra.Outdated)
	publish(t, f, "localhost:2", infra.Written)

	// Without its record a file that says the same is taken up, another is not.
	if err := os.RemoveAll(filepath.Join(f.Home, "state")); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "localhost:2", infra.Current)
	publish(t, f, "localhost:3", infra.Written)
}

func TestForeignFile(t *testing.T) {
	f := files(t)
	publish(t, f, "localhost:1", infra.Written)
	theirs := "environment: dev\nowner: ada\nregistry: {provider: ghcr, login_server: ghcr.io/ada}\ncompute: {provider: dask, scheduler: \"tcp://10.0.0.1:8786\"}\n"
	overwrite(t, f, theirs)
	state(t, f, "localhost:1", infra.Foreign)
	if _, err := f.Publish(outputs("localhost:1"), false); contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("%v", err)
	}
	if retired, err := f.Retire("dev"); err != nil || retired {
		t.Error(retired, err)
	}
	if got := read(t, f); got != theirs {
		t.Errorf("changed to %s", got)
	}
	if got, err := f.Publish(outputs("localhost:1"), true); err != nil || got != infra.Written {
		t.Fatal(got, err)
	}
	for _, part := range []string{`login_server: "localhost:1"`, `owner: "ada"`, "tcp://10.0.0.1:8786"} {
		if got := read(t, f); !strings.Contains(got, part) {
			t.Errorf("%s is not in\n%s", part, got)
		}
	}

	// What somebody adds beside what mops wrote is no conflict, and stays.
	overwrite(t, f, read(t, f)+"note: mine\n")
	publish(t, f, "localhost:1", infra.Current)
	if got := publish(t, f, "localhost:2", infra.Written); !strings.Contains(got, "note:") {
		t.Error(got)
	}
}

func TestBrokenFileIsNotOurs(t *testing.T) {
	f := files(t)
	publish(t, f, "localhost:1", infra.Written)
	overwrite(t, f, "registry: [")
	state(t, f, "localhost:1", infra.Foreign)
	if _, err := f.Publish(outputs("localhost:1"), false); contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("%v", err)
	}
	if got, err := f.Publish(outputs("localhost:1"), true); err != nil || got != infra.Written {
		t.Error(got, err)
	}
}

func TestRetire(t *testing.T) {
	f := files(t)
	publish(t, f, "localhost:1", infra.Written)
	if retired, err := f.Retire("dev"); err != nil || !retired {
		t.Fatal(retired, err)
	}
	_, err := environment.Open(f.Home).Load("dev")
	if e := contracts.AsError(err); e == nil || !strings.Contains(e.Message, "was destroyed at 2026-01-15T12:30:00Z") {
		t.Errorf("%v", e)
	}
	publish(t, f, "localhost:1", infra.Written)
}

// forgetful writes over what is to be created once.
type forgetful struct{ kept map[string]bool }

func (f forgetful) Put(context.Context, string, io.Reader) error { return errors.New("not asked for") }
func (f forgetful) Create(_ context.Context, key string, _ []byte) error {
	f.kept[key] = true
	return nil
}

func (f forgetful) Delete(_ context.Context, key string) error {
	delete(f.kept, key)
	return nil
}

func TestProveStorage(t *testing.T) {
	store, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := infra.ProveStorage(t.Context(), store); err != nil {
		t.Error(err)
	}
	for entry, err := range store.List(t.Context(), "") {
		t.Errorf("left over: %v %v", entry, err)
	}
	f := forgetful{map[string]bool{}}
	if e := contracts.AsError(infra.ProveStorage(t.Context(), f)); e == nil || e.Code != contracts.CodeUnsupported || len(f.kept) != 0 {
		t.Errorf("%v, left over %v", e, f.kept)
	}
}
