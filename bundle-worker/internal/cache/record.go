//go:build unix

package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// record says that a bundle is whole, in which directory it lies, and what each of its
// files and directories looked like when that was so. It is binary, because it is read
// each time a process starts in the bundle and JSON of 20,000 files takes longer than
// looking at them.
type record struct {
	digest, content contracts.Digest
	repository      string // that it was first fetched from
	dir             string // below bundles/
	boot            string // of the machine, when it was last hashed
	size            int64  // of the files together
	nodes           []node // the bundle's directory first
}

// node is what lstat says of a file or directory.
type node struct {
	path         string // below the bundle's directory; "" for itself
	mode         uint32
	size         int64
	inode        uint64
	mtime, ctime int64 // nanoseconds
}

const recordMagic = "modelops-cache-record-2\n"

// newRecord looks at a tree.
func newRecord(d, content contracts.Digest, repository, dir, tree string) (*record, error) {
	r := &record{digest: d, content: content, repository: repository, dir: dir, boot: bootID()}
	err := filepath.WalkDir(tree, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(tree, p)
		if err != nil {
			return err
		}
		if rel == "." {
			rel = ""
		}
		n, err := look(unix.AT_FDCWD, p)
		if err != nil {
			return err
		}
		n.path = rel
		if n.mode&unix.S_IFMT == unix.S_IFREG {
			r.size += n.size
		}
		r.nodes = append(r.nodes, n)
		return nil
	})
	return r, err
}

// look says what is at a path below the directory that is open as dir, or at any with
// [unix.AT_FDCWD].
func look(dir int, path string) (node, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, path, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return node{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	n := node{mode: uint32(st.Mode), size: st.Size, inode: uint64(st.Ino), mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
	if n.mode&unix.S_IFMT == unix.S_IFDIR {
		n.size = 0 // says nothing, and differs between file systems
	}
	return n, nil
}

// matches says whether everything still looks as it did. A file that was added changes
// its directory.
func (r *record) matches(tree string) bool {
	dir, err := unix.Open(tree, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(dir) }()
	for i := range r.nodes {
		want := &r.nodes[i]
		got, err := look(dir, cmp.Or(want.path, "."))
		if err != nil {
			return false
		}
		got.path = want.path
		if got != *want {
			return false
		}
	}
	return len(r.nodes) > 0
}

// files counts the regular files.
func (r *record) files() int {
	count := 0
	for _, n := range r.nodes {
		if n.mode&unix.S_IFMT == unix.S_IFREG {
			count++
		}
	}
	return count
}

func (r *record) write(path string) error {
	b := []byte(recordMagic)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, s := range []string{string(r.digest), string(r.content), r.repository, r.dir, r.boot} {
		text(s)
	}
	b = binary.AppendVarint(b, r.size)
	b = binary.AppendUvarint(b, uint64(len(r.nodes)))
	for _, n := range r.nodes {
		text(n.path)
		b = binary.AppendUvarint(b, uint64(n.mode))
		b = binary.AppendVarint(b, n.size)
		b = binary.AppendUvarint(b, n.inode)
		b = binary.AppendVarint(b, n.mtime)
		b = binary.AppendVarint(b, n.ctime)
	}
	sum := contracts.DigestOf(b)
	return atomicfile.Write(path, append(b, sum.Hex()...), 0o600)
}

var errRecord = errors.New("the record is broken")

// readRecord reads the record of a bundle. One that is broken, or another bundle's, is an
// error like one that is not there: the bundle is fetched.
func readRecord(path string, want contracts.Digest) (*record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	const sumLength = 64
	if len(data) < len(recordMagic)+sumLength || !bytes.HasPrefix(data, []byte(recordMagic)) {
		return nil, errRecord
	}
	body, sum := data[:len(data)-sumLength], string(data[len(data)-sumLength:])
	if contracts.DigestOf(body).Hex() != sum {
		return nil, errRecord
	}
	d := decoder{rest: body[len(recordMagic):]}
	r := &record{
		digest: contracts.Digest(d.text()), content: contracts.Digest(d.text()), repository: d.text(), dir: d.text(), boot: d.text(), size: d.varint(),
	}
	r.nodes = make([]node, min(d.uvarint(), uint64(len(body))))
	for i := range r.nodes {
		r.nodes[i] = node{
			path: d.text(), mode: uint32(d.uvarint()), size: d.varint(), inode: d.uvarint(), mtime: d.varint(), ctime: d.varint(),
		}
	}
	if d.broken || r.digest != want || r.dir != want.Short() && r.dir != want.Hex() {
		return nil, fmt.Errorf("%w: %s", errRecord, path)
	}
	return r, nil
}

// decoder reads a record's fields; after the first that is not there, nothing.
type decoder struct {
	rest   []byte
	broken bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	return advance(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	return advance(d, v, n)
}

func advance[T any](d *decoder, v T, n int) T {
	if n <= 0 {
		d.broken, d.rest = true, nil
		var zero T
		return zero
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.broken, d.rest = true, nil
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}
