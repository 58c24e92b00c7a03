package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// Cache remembers what the files of a directory were when they were last read, so that a
// file which has not been touched since is not read again. It is local state, and a hint
// only: an index is the same with it, without it, and with one that is lost or broken.
//
// A file counts as untouched when size, modification and change time and inode are what
// they were. A file that was touched so shortly before it was read that a later change
// could leave the same times is not remembered (git's rule for "racy" files).
type Cache struct {
	path  string
	stamp time.Time // of the file system's clock, before anything was read; zero when nothing can be kept

	mu    sync.Mutex
	files map[string]cachedFile
	blobs []Blob
	known map[blobKey]Blob // those of blobs with a stored form
	index Blob             // the document of the last one; nothing, before

	sources int // files of the index that it was made of, the empty ones with them
	dirty   bool
}

// cachedFile is what a file was. It is not empty.
type cachedFile struct {
	stat   fileStat
	digest contracts.Digest
	parts  []Part // in terms of the cache's blobs
}

const (
	cacheMagic = "modelops-bundle stat cache 2, format 2\n"

	// fineTick and coarseTick are longer than the steps of file systems' clocks: of those
	// that keep fractions of a second, which follow the kernel's (10 ms on Linux, 16 on
	// Windows), and of those that do not.
	fineTick   = 20 * time.Millisecond
	coarseTick = 3 * time.Second
)

// OpenCache reads the cache at path, in a directory on the file system whose files it is
// about. One that is not there, is broken, or is of another version is an empty one.
func OpenCache(path string) *Cache {
	c := &Cache{path: path, stamp: clockOf(filepath.Dir(path))}
	if data, err := os.ReadFile(path); err == nil && !c.decode(data) {
		c.files, c.blobs, c.index, c.sources = nil, nil, Blob{}, -1
	}
	c.known = make(map[blobKey]Blob, len(c.blobs))
	for _, b := range c.blobs {
		if b.Stored != "" {
			c.known[blobKey{b.Raw, b.Kind}] = b
		}
	}
	return c
}

// clockOf is the time that a file written to dir now gets; zero when none can be.
func clockOf(dir string) time.Time {
	f, err := os.CreateTemp(dir, ".clock.*.tmp")
	if err != nil {
		return time.Time{}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// lookup is what a file was, if it is untouched.
func (c *Cache) lookup(source Source) (cachedFile, bool) {
	f, ok := c.files[source.Path]
	return f, ok && f.stat == statOf(source.Info)
}

// blob is a blob of the cache that has a stored form. c may be nil.
func (c *Cache) blob(key blobKey) (Blob, bool) {
	if c == nil {
		return Blob{}, false
	}
	b, ok := c.known[key]
	return b, ok
}

// settle waits until files that were written just before the scan can be told from such as
// are written from now on: a step of a fine clock at most. Otherwise the next run would
// have to read them again, and a push often follows at the heels of an edit.
func (c *Cache) settle(ctx context.Context, sources []Source) error {
	if c.stamp.IsZero() {
		return nil
	}
	newest := c.newest(sources)
	if newest.Before(c.stamp) {
		return nil
	}
	c.stamp = clockOf(filepath.Dir(c.path))
	wait := newest.Sub(c.stamp)
	if wait <= 0 || wait > fineTick {
		return nil // or somebody sets the clock
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.stamp = clockOf(filepath.Dir(c.path))
	return nil
}

// newest is when all files that are new to the cache will have been there for more than a
// step of the clock. Those of the future, and of clocks of whole seconds, are not waited
// for.
func (c *Cache) newest(sources []Source) time.Time {
	newest, now := int64(0), c.stamp.UnixNano()
	for _, source := range sources {
		s := statOf(source.Info)
		at := max(s.modified, s.changed)
		if at <= newest || at > now || !s.fine() {
			continue
		}
		if _, known := c.lookup(source); !known {
			newest = at
		}
	}
	return time.Unix(0, newest).Add(fineTick + time.Millisecond)
}

// settled says whether every later change of the file will show in its times.
func (c *Cache) settled(s fileStat) bool {
	tick := coarseTick
	if s.fine() {
		tick = fineTick
	}
	return max(s.modified, s.changed) < c.stamp.Add(-tick).UnixNano()
}

// learn replaces what the cache holds by an index that was just built from the sources.
func (c *Cache) learn(sources []Source, x *Index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty, c.sources, c.blobs = true, len(sources), x.Blobs
	c.known = make(map[blobKey]Blob, len(x.Blobs))
	for _, b := range x.Blobs {
		if b.Stored != "" {
			c.known[blobKey{b.Raw, b.Kind}] = b
		}
	}
	known := c.files
	c.files = make(map[string]cachedFile, len(sources))
	for i, f := range x.Files {
		// What is known to show every later change goes on to.
		if s := statOf(sources[i].Info); f.Size > 0 && (c.settled(s) || known[f.Path].stat == s) {
			c.files[f.Path] = cachedFile{s, f.Digest, f.Parts}
		}
	}
}

// Save writes the cache if it holds anything new. It is for the next run alone; an error
// costs speed.
func (c *Cache) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty || c.stamp.IsZero() {
		return nil
	}
	if err := atomicfile.Write(c.path, c.encode(), 0o600); err != nil {
		return err
	}
	c.dirty = false
	return nil
}

func (c *Cache) encode() []byte {
	b := append(make([]byte, 0, len(c.blobs)*80+len(c.files)*120), cacheMagic...)
	b = binary.AppendUvarint(b, uint64(c.sources))
	b = binary.AppendUvarint(b, uint64(len(c.blobs)))
	for _, blob := range c.blobs {
		b = appendBlob(b, blob)
	}
	if c.index.Stored != "" {
		b = appendBlob(append(b, 1), c.index)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(c.files)))
	for path, f := range c.files {
		b = append(binary.AppendUvarint(b, uint64(len(path))), path...)
		b = binary.AppendUvarint(b, uint64(f.stat.size))
		b = binary.AppendVarint(b, f.stat.modified)
		b = binary.AppendVarint(b, f.stat.changed)
		b = binary.AppendUvarint(b, f.stat.inode)
		b = appendDigest(b, f.digest)
		b = binary.AppendUvarint(b, uint64(len(f.parts)))
		for _, part := range f.parts {
			b = binary.AppendUvarint(b, uint64(part.Blob))
			b = binary.AppendUvarint(b, uint64(part.Offset))
			b = binary.AppendUvarint(b, uint64(part.Length))
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func appendBlob(b []byte, blob Blob) []byte {
	b = appendDigest(b, blob.Raw)
	b = binary.AppendUvarint(b, uint64(blob.RawSize))
	b = append(b, byte(blob.Kind))
	switch {
	case blob.Stored == "":
		return append(b, 0)
	case blob.Encoding == Identity:
		return append(b, 1)
	}
	b = appendDigest(append(b, 2), blob.Stored)
	return binary.AppendUvarint(b, uint64(blob.StoredSize))
}

func appendDigest(b []byte, d contracts.Digest) []byte {
	b, err := hex.AppendDecode(b, []byte(d.Hex()))
	if err != nil { // a digest is hexadecimal
		panic(err)
	}
	return b
}

// decode reads what encode wrote, and says whether it is that.
func (c *Cache) decode(data []byte) bool {
	end := len(data) - sha256.Size
	if end < len(cacheMagic) || string(data[:len(cacheMagic)]) != cacheMagic || sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return false
	}
	d := decoder{rest: data[len(cacheMagic):end]}
	c.sources = int(d.number())
	c.blobs = make([]Blob, d.count(34))
	for i := range c.blobs {
		c.blobs[i] = d.blob()
	}
	if d.number() == 1 {
		c.index = d.blob()
	}
	n := d.count(38)
	c.files = make(map[string]cachedFile, n)
	for range n {
		path := string(d.bytes(int(d.number())))
		f := cachedFile{stat: fileStat{size: d.number(), modified: d.signed(), changed: d.signed(), inode: uint64(d.number())}}
		f.digest = d.digest()
		f.parts = make([]Part, d.count(3))
		for i := range f.parts {
			p := Part{Blob: int(d.number()), Offset: d.number(), Length: d.number()}
			if p.Blob < 0 || p.Blob >= len(c.blobs) {
				return false
			}
			f.parts[i] = p
		}
		c.files[path] = f
	}
	return !d.bad && len(d.rest) == 0
}

// decoder reads numbers and digests, and remembers when there were none.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) number() int64 {
	v, n := binary.Uvarint(d.rest)
	d.bytes(positive(n))
	return int64(v)
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.rest)
	d.bytes(positive(n))
	return v
}

// positive makes what stands for no number a length that there is not.
func positive(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// count is a number of things of which each takes at least size bytes.
func (d *decoder) count(size int) int {
	n := d.number()
	if n < 0 || n > int64(len(d.rest)/size) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) digest() contracts.Digest {
	b := d.bytes(sha256.Size)
	if b == nil {
		return ""
	}
	return contracts.DigestFromSum([sha256.Size]byte(b))
}

func (d *decoder) blob() Blob {
	b := Blob{Raw: d.digest(), RawSize: d.number()}
	kind, form := d.bytes(1), d.bytes(1)
	if d.bad {
		return b
	}
	b.Kind = Kind(kind[0])
	switch form[0] {
	case 1:
		b.Stored, b.StoredSize, b.Encoding = b.Raw, b.RawSize, Identity
	case 2:
		b.Stored, b.StoredSize, b.Encoding = d.digest(), d.number(), Zstd
	}
	return b
}
