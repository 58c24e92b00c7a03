package s3_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/blobstoretest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3test"
)

// server is the one that all tests use, each with a bucket of its own.
var server *s3test.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var stop func()
	var err error
	if server, stop, err = s3test.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// hasty are limits for tests of faults.
var hasty = s3.Limits{Busy: time.Minute, Silence: 5 * time.Second, Stall: 3 * time.Second, Pause: 5 * time.Millisecond}

// newBucket is a storage in a bucket of its own, which is made.
func newBucket(t *testing.T) *contracts.Storage {
	t.Helper()
	storage := server.Bucket("b" + strings.ToLower(rand.Text()))
	if err := open(t, storage, s3.Options{}).Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return storage
}

func open(t *testing.T, storage *contracts.Storage, opts s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.Open(storage, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	for name, prefix := range map[string]string{"bucket": "", "prefix": "team/seir"} {
		t.Run(name, func(t *testing.T) {
			blobstoretest.Run(t, func(t *testing.T) func() blobstore.Store {
				storage := newBucket(t)
				storage.Prefix = prefix
				if prefix != "" {
					storage.Provider = "minio"
				}
				return func() blobstore.Store { return open(t, storage, s3.Options{}) }
			})
		})
	}
}

// A bucket is made when that is asked for, and by nothing else; it may be asked twice.
func TestMake(t *testing.T) {
	storage := server.Bucket("not-there-" + strings.ToLower(rand.Text()))
	s := open(t, storage, s3.Options{})
	_, err := s.Get(t.Context(), "k")
	errs := map[string]error{"Get": err, "Put": s.Put(t.Context(), "k", strings.NewReader("")),
		"Create": s.Create(t.Context(), "k", nil), "Delete": s.Delete(t.Context(), "k")}
	for _, err := range s.List(t.Context(), "") {
		errs["List"] = err
	}
	for name, err := range errs {
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeNotFound || !strings.Contains(e.Message, "not-there") || errors.Is(err, blobstore.ErrNotFound) {
			t.Errorf("%s = %v, want one that names the bucket", name, err)
		}
	}
	for range 2 {
		if err := s.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}

// What cannot work is said before anything is sent.
func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		storage contracts.Storage
		code    contracts.Code
		says    string
	}{
		"nobody":     {contracts.Storage{Provider: "s3"}, contracts.CodeInvalidEnvironment, "access_key"},
		"no address": {contracts.Storage{Provider: "minio", AccessKey: "a", SecretKey: "b"}, contracts.CodeInvalidEnvironment, "endpoint"},
		"path":       {contracts.Storage{Provider: "s3", Endpoint: "https://s3.example.com/bucket", AccessKey: "a", SecretKey: "b"}, contracts.CodeInvalidEnvironment, "path"},
		"google":     {contracts.Storage{Provider: "gcs"}, contracts.CodeUnauthenticated, "HMAC"},
	} {
		c.storage.Container = "bucket"
		_, err := s3.Open(&c.storage, s3.Options{})
		if e := contracts.AsError(err); e == nil || e.Code != c.code || !strings.Contains(e.Message+e.Hint, c.says) {
			t.Errorf("%s: %v, want code %q and %q", name, err, c.code, c.says)
		}
	}
}

// The keys of the process are used where the file has none, and being nobody is an error.
func TestProcessKeys(t *testing.T) {
	storage := newBucket(t)
	storage.AccessKey, storage.SecretKey = "", ""
	storage.Provider = "minio" // which does not look further than at variables
	for _, name := range []string{"MINIO_ROOT_USER", "MINIO_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	s := open(t, storage, s3.Options{Getenv: os.Getenv})
	if e := contracts.AsError(s.Create(t.Context(), "k", nil)); e == nil || e.Code != contracts.CodeUnauthenticated {
		t.Errorf("nobody: %v", e)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	for _, provider := range []string{"minio", "s3"} {
		storage.Provider = provider
		if err := open(t, storage, s3.Options{Getenv: os.Getenv}).Put(t.Context(), "k", strings.NewReader("x")); err != nil {
			t.Errorf("%s: %v", provider, err)
		}
	}
}
