package project

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Leftover is what an interrupted command left on this machine.
type Leftover struct {
	Path  string `json:"path"` // absolute
	Bytes int64  `json:"bytes"`
	Why   string `json:"why"`
}

// Leftovers lists what pulls and writes into the project left behind, and that nothing has
// touched since before.
func (p *Project) Leftovers(before time.Time) ([]Leftover, error) {
	found := []Leftover{}
	for _, place := range []struct{ dir, pattern, why string }{
		{p.path(StateDir), `^staging-[0-9]+$`, "a pull was interrupted"},
		{p.path(StateDir), `^\..*\.[0-9]+\.tmp$`, "a write was interrupted"},
		{filepath.Dir(p.Dir), `^\.` + regexp.QuoteMeta(filepath.Base(p.Dir)) + `\.pull-[0-9]+$`, "a pull into a new directory was interrupted"},
	} {
		pattern, err := regexp.Compile(place.pattern)
		if err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(place.dir)
		if err != nil {
			return nil, unreadable(place.dir, err)
		}
		for _, entry := range entries {
			if !pattern.MatchString(entry.Name()) {
				continue
			}
			l := Leftover{Path: filepath.Join(place.dir, entry.Name()), Why: place.why}
			old, err := l.measure(before)
			if err != nil {
				return nil, unreadable(l.Path, err)
			}
			if old {
				found = append(found, l)
			}
		}
	}
	return found, nil
}

// measure adds up what lies there, and says whether all of it is older than before.
func (l *Leftover) measure(before time.Time) (bool, error) {
	old := true
	err := filepath.WalkDir(l.Path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		old = old && info.ModTime().Before(before)
		if info.Mode().IsRegular() {
			l.Bytes += info.Size()
		}
		return nil
	})
	return old, err
}

// Remove removes a leftover.
func (p *Project) Remove(l Leftover) error {
	if err := os.RemoveAll(l.Path); err != nil {
		return Unwritable(l.Path, err)
	}
	return nil
}
