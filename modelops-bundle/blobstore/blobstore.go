// Package blobstore keeps large files, the state of jobs and their results in the
// storage of an environment: bytes under keys, behind one small interface.
//
// # Keys
//
// A key is one or more components with "/" between them, at most 1024 bytes in all;
// a component begins with a letter, a digit or "_" and goes on with these, ".", "-"
// and "=", and does not end in ".". No key is a directory of another: where "a/b" is,
// "a" is not.
//
// # What every store promises
//
// Objects are whole: a reader sees all of an object or none of it, whatever crashed
// while it was written. When Put or Create has returned nil, the object is durable. Of
// any number of concurrent Creates of one key exactly one succeeds. List is in the
// order of the keys' bytes. The suite in blobstoretest holds every store to it.
//
// A directory is here; what needs a client library is a package beneath, so that linking
// it is a program's decision. See [Openers].
//
// # Errors
//
// An absent key is [ErrNotFound], a Create of a key that is there [ErrExists], both to
// be asked for with errors.Is. Everything else is a [contracts.Error]: storage that
// could not be read is never reported as absence.
package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// ErrNotFound is the error for a key that is not there.
var ErrNotFound = errors.New("not in the storage")

// ErrExists is the error for creating a key that is there.
var ErrExists = errors.New("already in the storage")

// Entry is an object as a listing has it.
type Entry struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Getter reads single objects.
type Getter interface {
	// Get opens the object; the caller closes it.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
}

// Lister lists objects.
type Lister interface {
	// List yields the objects whose keys begin with prefix, which need not end at a
	// "/", in the order of their keys. After an error the sequence ends.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

// Reader reads a store.
type Reader interface {
	Getter
	Lister
}

// Writer changes a store.
type Writer interface {
	// Put writes the object, in the place of one that is there.
	Put(ctx context.Context, key string, r io.Reader) error
	// Create writes an object that is not there yet.
	Create(ctx context.Context, key string, data []byte) error
	// Delete removes the object. That it is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Store is a whole store.
type Store interface {
	Reader
	Writer
}

// Opener opens storage of one kind.
type Opener func(*contracts.Storage) (Store, error)

// Openers are the kinds of storage beside fs that a program links, by their provider: a
// program that never opens any carries nobody's client library.
type Openers map[string]Opener

// Open opens the storage of an environment. There is a [contracts.Error] of
// [contracts.CodeUnsupported] when the environment has none, or one that this program
// does not read.
func Open(env *contracts.BundleEnvironment, openers Openers) (Store, error) {
	if env.Storage == nil {
		return nil, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageEnvironment,
			Message: "environment " + contracts.Quote(env.Environment) + " has no storage",
			Hint:    "mops infra up makes a local environment, whose storage is a directory"}
	}
	if env.Storage.Provider == "fs" {
		return OpenDir(env.Storage.Container, env.Storage.Prefix)
	}
	if open, ok := openers[env.Storage.Provider]; ok {
		return open(env.Storage)
	}
	known := append(slices.Sorted(maps.Keys(openers)), "fs")
	return nil, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageEnvironment,
		Message: "storage provider " + env.Storage.Provider + " of environment " + contracts.Quote(env.Environment) + " is not supported by this version",
		Hint:    "use one of: " + strings.Join(known, ", ")}
}

// Read is the whole object, which must not be larger than limit bytes.
func Read(ctx context.Context, from Getter, key string, limit int64) ([]byte, error) {
	r, err := from.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, translate("read", key, err)
	}
	if int64(len(data)) > limit {
		return nil, &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageStore,
			Message: fmt.Sprintf("object %s in the storage is larger than %d bytes", contracts.Quote(key), limit)}
	}
	return data, nil
}

const maxKey = 1024

var keyPattern = regexp.MustCompile(`\A[A-Za-z0-9_]([A-Za-z0-9._=-]*[A-Za-z0-9_=-])?(/[A-Za-z0-9_]([A-Za-z0-9._=-]*[A-Za-z0-9_=-])?)*\z`)

// CheckKey checks a key. A wrong one is a fault of the program: nobody types keys.
func CheckKey(key string) error {
	if len(key) > maxKey || !keyPattern.MatchString(key) {
		return fmt.Errorf("blobstore: invalid key %s", contracts.Quote(key))
	}
	return nil
}
