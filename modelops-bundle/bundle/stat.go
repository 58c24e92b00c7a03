package bundle

import (
	"io/fs"
	"os"
	"time"
)

// fileStat is how a file that was touched is told from one that was not. Where a system
// does not have a field it is 0.
type fileStat struct {
	size, modified, changed int64 // bytes; nanoseconds since 1970
	inode                   uint64
}

// fine says whether the file system's clock keeps fractions of a second. A time of
// modification of whole seconds is what tar and others set; that of change is the clock's.
func (s fileStat) fine() bool {
	return s.modified%int64(time.Second) != 0 || s.changed%int64(time.Second) != 0
}

// sighting is what a scan keeps of a file: a quarter of what the system says of it, which
// with 100,000 of them counts.
type sighting struct {
	name string
	mode fs.FileMode
	stat fileStat
}

// sighted is the information in little memory, where files have numbers.
func sighted(info fs.FileInfo) fs.FileInfo {
	stat := statOf(info)
	if stat.inode == 0 {
		return info
	}
	return &sighting{info.Name(), info.Mode(), stat}
}

func (s *sighting) Name() string       { return s.name }
func (s *sighting) Size() int64        { return s.stat.size }
func (s *sighting) Mode() fs.FileMode  { return s.mode }
func (s *sighting) ModTime() time.Time { return time.Unix(0, s.stat.modified) }
func (s *sighting) IsDir() bool        { return s.mode.IsDir() }
func (s *sighting) Sys() any           { return nil }

func statOf(info fs.FileInfo) fileStat {
	if s, ok := info.(*sighting); ok {
		return s.stat
	}
	return systemStat(info)
}

// touched says whether the file is not the one that the scan saw.
func touched(info, scanned fs.FileInfo) bool {
	if statOf(info) != statOf(scanned) {
		return true
	}
	_, numbered := scanned.(*sighting)
	return !numbered && !os.SameFile(info, scanned)
}
