package bundle

import (
	"os"
	"path/filepath"
	"time"
)

// Arrival is what an extraction wrote, seen while it lay where nobody else writes.
type Arrival struct {
	index *Index
	stats map[string]fileStat // by path
}

// Arrived looks at the wanted files, which were extracted below dir just now. It waits the
// few milliseconds until the clock of their file system has moved on: whoever changes one
// of them from then on leaves another time in it.
func (x *Index) Arrived(dir string, want func(File) bool) *Arrival {
	a := &Arrival{index: x, stats: make(map[string]fileStat, len(x.Files))}
	var last int64
	for _, f := range x.Files {
		if f.Size == 0 || want != nil && !want(f) {
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			continue
		}
		s := statOf(info)
		if !s.fine() {
			continue
		}
		a.stats[f.Path] = s
		last = max(last, s.modified)
	}
	for end := time.Now().Add(fineTick); clockOf(dir).UnixNano() <= last; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			clear(a.stats)
			break
		}
	}
	return a
}

// Adopt takes over what was pulled: of the files that lie below dir as they arrived, and
// of those that the cache has with the same digest, it knows what the bundle says. It takes
// over no stored form of a blob, so that a push makes its own.
func (c *Cache) Adopt(dir string, a *Arrival) {
	x := a.index
	if len(x.Blobs) > 0 && x.Blobs[0].Kind == Whole {
		return // a build makes other blobs
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, files := c.files, make(map[string]cachedFile, len(x.Files))
	blobs := make([]Blob, 0, len(x.Blobs))
	for _, b := range x.Blobs {
		own, ok := c.known[blobKey{b.Raw, b.Kind}]
		if !ok {
			own = Blob{Raw: b.Raw, RawSize: b.RawSize, Kind: b.Kind}
		}
		blobs = append(blobs, own)
	}
	for _, f := range x.Files {
		s, arrived := a.stats[f.Path]
		if arrived {
			s, arrived = s.stays(filepath.Join(dir, filepath.FromSlash(f.Path)))
		}
		old, known := kept[f.Path]
		switch {
		case arrived:
			files[f.Path] = cachedFile{s, f.Digest, f.Parts}
		case known && old.digest == f.Digest:
			files[f.Path] = cachedFile{old.stat, f.Digest, f.Parts}
		}
	}
	moved := map[int]int{}
	for path, f := range kept {
		if _, ok := files[path]; ok {
			continue
		}
		parts := make([]Part, len(f.parts))
		for i, part := range f.parts {
			at, ok := moved[part.Blob]
			if !ok {
				at = len(blobs)
				moved[part.Blob] = at
				blobs = append(blobs, c.blobs[part.Blob])
			}
			parts[i] = Part{Blob: at, Offset: part.Offset, Length: part.Length}
		}
		files[path] = cachedFile{f.stat, f.digest, parts}
	}
	c.files, c.blobs, c.sources, c.dirty = files, blobs, len(x.Files), true
}

// stays is the stat of the file at path, if it is the one of which this was seen: a file
// that is moved may have another time of change, and no other of modification.
func (s fileStat) stays(path string) (fileStat, bool) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return fileStat{}, false
	}
	now := statOf(info)
	return now, now.size == s.size && now.modified == s.modified && now.inode == s.inode
}
