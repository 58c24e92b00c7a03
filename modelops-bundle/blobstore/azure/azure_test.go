package azure_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azure"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/blobstoretest"
)

// server is the emulator that all tests use, each with a container of its own.
var server *azuritetest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var stop func()
	var err error
	if server, stop, err = azuritetest.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// hasty are limits for tests of faults.
var hasty = azure.Limits{Busy: time.Minute, Silence: 5 * time.Second, Stall: 3 * time.Second, Pause: 5 * time.Millisecond}

// newContainer is a storage in a container of its own, which is made.
func newContainer(t *testing.T) *contracts.Storage {
	t.Helper()
	storage := &contracts.Storage{Provider: "azurite", Container: "c" + strings.ToLower(rand.Text()), ConnectionString: contracts.Secret(server.ConnectionString())}
	if err := open(t, storage, azure.Options{}).Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return storage
}

func open(t *testing.T, storage *contracts.Storage, opts azure.Options) *azure.Store {
	t.Helper()
	s, err := azure.Open(storage, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signed is the storage with a signature for its container in the place of the key.
func signed(t *testing.T, storage *contracts.Storage, permissions sas.ContainerPermissions, expiry time.Time) *contracts.Storage {
	t.Helper()
	key, err := container.NewSharedKeyCredential(azuritetest.Account, server.Key)
	if err != nil {
		t.Fatal(err)
	}
	values := sas.BlobSignatureValues{Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: expiry, ContainerName: storage.Container, Permissions: permissions.String()}
	query, err := values.SignWithSharedKey(key)
	if err != nil {
		t.Fatal(err)
	}
	other := *storage
	other.ConnectionString = contracts.Secret("BlobEndpoint=" + server.Endpoint + ";SharedAccessSignature=" + query.Encode())
	return &other
}

var everything = sas.ContainerPermissions{Read: true, Create: true, Write: true, Delete: true, List: true}

func TestStore(t *testing.T) {
	for name, access := range map[string]func(t *testing.T, storage *contracts.Storage) *contracts.Storage{
		"key": func(t *testing.T, storage *contracts.Storage) *contracts.Storage { return storage },
		"prefix": func(t *testing.T, storage *contracts.Storage) *contracts.Storage {
			other := *storage
			other.Prefix = "team/seir"
			return &other
		},
		"signature": func(t *testing.T, storage *contracts.Storage) *contracts.Storage {
			return signed(t, storage, everything, time.Now().Add(time.Hour))
		},
	} {
		t.Run(name, func(t *testing.T) {
			blobstoretest.Run(t, func(t *testing.T) func() blobstore.Store {
				storage := access(t, newContainer(t))
				return func() blobstore.Store { return open(t, storage, azure.Options{}) }
			})
		})
	}
}

// Prefixes keep environments apart in one container.
func TestPrefix(t *testing.T) {
	one := newContainer(t)
	two := *one
	one.Prefix, two.Prefix = "team", "team-2"
	if err := open(t, one, azure.Options{}).Create(t.Context(), "k", []byte("one")); err != nil {
		t.Fatal(err)
	}
	s := open(t, &two, azure.Options{})
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	for entry, err := range s.List(t.Context(), "") {
		t.Errorf("List = %v, %v", entry, err)
	}
}

// A container is made when that is asked for, and by nothing else; it may be asked twice.
func TestMake(t *testing.T) {
	storage := &contracts.Storage{Provider: "azurite", Container: "not-there", Endpoint: server.Endpoint}
	s := open(t, storage, azure.Options{})
	_, err := s.Get(t.Context(), "k")
	errs := map[string]error{"Get": err, "Put": s.Put(t.Context(), "k", strings.NewReader("")),
		"Create": s.Create(t.Context(), "k", nil), "Delete": s.Delete(t.Context(), "k")}
	for _, err := range s.List(t.Context(), "") {
		errs["List"] = err
	}
	for name, err := range errs {
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeNotFound || !strings.Contains(e.Message, "not-there") || errors.Is(err, blobstore.ErrNotFound) {
			t.Errorf("%s = %v, want one that names the container", name, err)
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
