package bundle

import (
	"io/fs"
	"syscall"
)

func systemStat(info fs.FileInfo) fileStat {
	s := fileStat{size: info.Size(), modified: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.changed, s.inode = sys.Ctimespec.Nano(), sys.Ino
	}
	return s
}
