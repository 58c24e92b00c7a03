//go:build !linux && !darwin

package bundle

import "io/fs"

func systemStat(info fs.FileInfo) fileStat {
	return fileStat{size: info.Size(), modified: info.ModTime().UnixNano()}
}
