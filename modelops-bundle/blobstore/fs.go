package blobstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// The store's own files. Their names begin with a dot, as no key does.
const (
	markerName = ".modelops-storage"
	stagingDir = ".staging" // unfinished writes
)

// marker says that a directory is a storage container, and of which format.
type marker struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

const markerFormat = "modelops-storage"

// directory is a store in a directory: the key is the path below it. Nothing is read
// or written outside, whatever links lie in it.
type directory struct {
	dir    string // the container
	prefix string // directory of the keys in it, "." for itself

	opening  sync.Mutex
	root     *os.Root    // opened at first use, so that looking makes no directory
	perm     fs.FileMode // of new directories: the container's own
	flushed  sync.Map    // directories whose names are known to be durable
	sweeping sync.Once
}

// OpenDir opens the store in the directory dir, an absolute path, whose keys all lie
// below prefix. The directory must be absent, empty, or a store already; an absent one
// is made by the first write.
func OpenDir(dir, prefix string) (Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, containerError(dir, "is not an absolute path", "give the whole path of a directory of its own")
	}
	d := &directory{dir: dir, prefix: cmp.Or(prefix, ".")}
	if _, err := d.open(false); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return d, nil
}

func containerError(dir, problem, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment,
		Message: "storage container " + contracts.Quote(dir) + " " + problem, Hint: hint}
}

// open is the container's root; [ErrNotFound] when the container is absent or empty
// and create is false.
func (d *directory) open(create bool) (*os.Root, error) {
	d.opening.Lock()
	defer d.opening.Unlock()
	if d.root != nil {
		return d.root, nil
	}
	if create {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return nil, translate("make", d.dir, err)
		}
		if err := atomicfile.SyncDir(filepath.Dir(d.dir)); err != nil {
			return nil, translate("make", d.dir, err)
		}
	}
	root, err := os.OpenRoot(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		if info, statErr := os.Stat(d.dir); statErr == nil && !info.IsDir() {
			return nil, containerError(d.dir, "is not a directory", "give a directory of its own")
		}
		return nil, translate("open", d.dir, err)
	}
	if err := d.adopt(root, create); err != nil {
		_ = root.Close()
		return nil, err
	}
	d.root = root
	return root, nil
}

// adopt checks that the directory is a container, and makes an empty one into one.
func (d *directory) adopt(root *os.Root, create bool) error {
	info, err := root.Stat(".")
	if err != nil {
		return translate("open", d.dir, err)
	}
	d.perm = info.Mode().Perm() | 0o700
	data, err := root.ReadFile(markerName)
	if errors.Is(err, fs.ErrNotExist) {
		full := checkEmpty(root, d.dir)
		switch {
		case full == nil && !create:
			return ErrNotFound
		case full == nil:
			return d.mark(root)
		}
		// Somebody may have made it a container, and used it, between the two looks.
		if data, err = root.ReadFile(markerName); errors.Is(err, fs.ErrNotExist) {
			return full
		}
	}
	if err != nil {
		return translate("read", filepath.Join(d.dir, markerName), err)
	}
	var m marker
	if err := json.Unmarshal(data, &m); err != nil || m.Format != markerFormat {
		return containerError(d.dir, "has a file "+markerName+" that is not ours", "name another directory")
	}
	if m.Version != 1 {
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageEnvironment,
			Message: "storage container " + contracts.Quote(d.dir) + " was made by a newer version", Hint: "use that version, or name another directory"}
	}
	return nil
}

// checkEmpty refuses a directory with anything in it that somebody else put there.
func checkEmpty(root *os.Root, dir string) error {
	entries, err := readDir(root, ".")
	if err != nil {
		return translate("read", dir, err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "lost+found" && name != stagingDir && name != markerName {
			return containerError(dir, "holds other files ("+contracts.Quote(name)+") and is no storage of ours", "name a directory that is empty or does not exist yet")
		}
	}
	return nil
}

func (d *directory) mark(root *os.Root) error {
	data, err := json.Marshal(marker{markerFormat, 1})
	if err != nil {
		return err
	}
	if err := d.writer(root).create(markerName, append(data, '\n')); err != nil && !errors.Is(err, fs.ErrExist) {
		return translate("write", filepath.Join(d.dir, markerName), err)
	}
	return nil
}

func (d *directory) writer(root *os.Root) writer {
	return writer{root: root, perm: d.perm, flushed: &d.flushed}
}

// name is the key's path in the container.
func (d *directory) name(key string) string { return path.Join(d.prefix, key) }

// ready checks the arguments of an operation and opens the container.
func (d *directory) ready(ctx context.Context, key string, create bool) (*os.Root, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := d.open(create)
	if err == nil && create {
		d.sweeping.Do(d.writer(root).sweep)
	}
	return root, err
}

func (d *directory) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	root, err := d.ready(ctx, key, false)
	if err != nil {
		return nil, err
	}
	f, err := root.Open(d.name(key))
	if err != nil {
		return nil, translate("read", key, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		if err != nil {
			return nil, translate("read", key, err)
		}
		return nil, ErrNotFound
	}
	return f, nil
}

func (d *directory) Put(ctx context.Context, key string, r io.Reader) error {
	root, err := d.ready(ctx, key, true)
	if err != nil {
		return err
	}
	err = d.writer(root).put(d.name(key), &contextReader{ctx, r})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err()
	}
	return translate("write", key, err)
}

func (d *directory) Create(ctx context.Context, key string, data []byte) error {
	root, err := d.ready(ctx, key, true)
	if err != nil {
		return err
	}
	return translate("write", key, d.writer(root).create(d.name(key), data))
}

func (d *directory) Delete(ctx context.Context, key string) error {
	root, err := d.ready(ctx, key, false)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	name := d.name(key)
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return translate("delete", key, err)
	}
	// Directories that this leaves empty go too; the first that is not empty, or that
	// somebody writes to meanwhile, ends it.
	for dir := path.Dir(name); dir != d.prefix && dir != "."; dir = path.Dir(dir) {
		if root.Remove(dir) != nil {
			break
		}
	}
	return nil
}

func (d *directory) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		root, err := d.open(false)
		if errors.Is(err, ErrNotFound) {
			return
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		dir, _ := path.Split(prefix)
		l := listing{ctx: ctx, root: root, at: d.prefix, prefix: prefix, yield: yield}
		l.walk(strings.TrimSuffix(dir, "/"))
	}
}

// listing yields objects below a directory in the order of their keys.
type listing struct {
	ctx    context.Context
	root   *os.Root
	at     string // directory of the keys in the root
	prefix string
	yield  func(Entry, error) bool
}

// walk yields what lies in the directory dir, a key without its end, and below. It is
// false when the sequence has ended.
func (l *listing) walk(dir string) bool {
	if err := l.ctx.Err(); err != nil {
		l.yield(Entry{}, err)
		return false
	}
	entries, err := readDir(l.root, path.Join(l.at, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return true // nothing was ever written there, or it was deleted meanwhile
	}
	if err != nil {
		l.yield(Entry{}, translate("list", dir, err))
		return false
	}
	// A directory stands where the keys in it stand: "a/b" after "a.b".
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return strings.Compare(sortName(x), sortName(y)) })
	for _, entry := range entries {
		if !l.visit(path.Join(dir, entry.Name()), entry) {
			return false
		}
	}
	return true
}

func sortName(entry fs.DirEntry) string {
	if entry.IsDir() {
		return entry.Name() + "/"
	}
	return entry.Name()
}

func (l *listing) visit(key string, entry fs.DirEntry) bool {
	switch {
	case strings.HasPrefix(entry.Name(), "."):
		return true
	case entry.IsDir():
		inside := key + "/"
		if strings.HasPrefix(inside, l.prefix) || strings.HasPrefix(l.prefix, inside) {
			return l.walk(key)
		}
		return true
	case !strings.HasPrefix(key, l.prefix) || !entry.Type().IsRegular() || CheckKey(key) != nil:
		return true
	}
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		l.yield(Entry{}, translate("list", key, err))
		return false
	}
	return l.yield(Entry{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil)
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.ReadDir(-1)
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
