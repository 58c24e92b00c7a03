//go:build unix

package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/lock"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/owned"
	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	locksDir      = "locks"
	recordFile    = "record.json" // what is installed
	inventoryFile = "inventory"   // what everything looked like when it was published
	variable      = "MODELOPS_VENVS_DIR"
)

// useLock is what the users of an environment hold, shared. Its time is that of the last
// use.
func useLock(root, dir string) string {
	return filepath.Join(root, locksDir, filepath.Base(dir)+".use")
}

// open takes the environment of a key into use, when it is there and as it was built.
func open(ctx context.Context, root, key string) (*Env, error) {
	link := filepath.Join(root, key)
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return nil, err
	}
	use, err := lock.Shared(ctx, useLock(root, dir))
	if err != nil {
		return nil, err
	}
	env, err := read(dir)
	if now, linkErr := filepath.EvalSymlinks(link); err == nil && (linkErr != nil || now != dir) {
		err = fs.ErrNotExist // it was collected or replaced before we held it
	}
	if err != nil {
		use.Unlock()
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(useLock(root, dir), now, now)
	env.use = use
	return env, nil
}

func read(dir string) (*Env, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	env := &Env{Python: filepath.Join(dir, "bin", "python")}
	if err := json.Unmarshal(data, &env.Record); err != nil {
		return nil, err
	}
	if _, err := os.Stat(env.Python); err != nil { // its base interpreter may be gone
		return nil, err
	}
	want, err := os.ReadFile(filepath.Join(dir, inventoryFile))
	if err != nil {
		return nil, err
	}
	if got, err := inventory(dir); err != nil || got != string(want) {
		return nil, fmt.Errorf("environment %s was changed", dir)
	}
	return env, nil
}

// inventory is a digest of what lstat says of everything in an environment. Whoever adds,
// changes or removes something changes it.
func inventory(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == dir || p == filepath.Join(dir, inventoryFile) {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		size := st.Size
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			size = 0 // says nothing, and differs between file systems
		}
		_, err = fmt.Fprintf(sum, "%q %o %d %d %d %d\n", p[len(dir):], st.Mode, size, st.Ino, st.Mtim.Nano(), st.Ctim.Nano())
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// seal makes a finished environment read-only, notes what it looks like, and has it on the
// disk.
func seal(dir string) error {
	err := filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || p == dir || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o444)
		if entry.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o555
		}
		return os.Chmod(p, mode)
	})
	if err != nil {
		return err
	}
	seen, err := inventory(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, inventoryFile), []byte(seen), 0o444); err != nil {
		return err
	}
	syscall.Sync() // before the link to it: a link to files that a crash emptied would be used
	return os.Chmod(dir, 0o555)
}

// publish makes dir the environment of its key. The link that is replaced may be in use by
// others: what it leads to stays until they are done.
func publish(root, key, dir string) error {
	link := dir + ".link"
	if err := os.Symlink(filepath.Base(dir), link); err != nil {
		return err
	}
	if err := os.Rename(link, filepath.Join(root, key)); err != nil {
		_ = os.Remove(link)
		return err
	}
	return nil
}

// sweep deletes what builds of the key that died left behind, and what was replaced and is
// no longer in use. The caller holds the key's lock.
func sweep(root, key string) {
	leftovers, err := filepath.Glob(filepath.Join(root, key+".*"))
	if err != nil {
		return
	}
	current, _ := filepath.EvalSymlinks(filepath.Join(root, key))
	for _, leftover := range leftovers {
		if leftover == current {
			continue
		}
		if strings.HasSuffix(leftover, ".link") {
			_ = os.Remove(leftover)
			continue
		}
		if use, free := lock.Try(useLock(root, leftover)); free {
			discard(root, leftover)
			use.Unlock()
		}
	}
}

func discard(root, dir string) {
	_ = runner.RemoveAll(dir)
	_ = os.Remove(useLock(root, dir))
}

// Info is an environment that is kept.
type Info struct {
	Key      string `json:"key"`
	Path     string `json:"path"`
	Python   string `json:"python"`
	Packages int    `json:"packages"`
	Digest   string `json:"environment_digest"`
	Bytes    int64  `json:"bytes"`
	LastUsed string `json:"last_used"`
	InUse    bool   `json:"in_use"`
}

// List tells which environments are kept at root, the least recently used first.
func List(root string) ([]Info, error) {
	infos := []Info{}
	if _, err := os.Stat(root); err != nil {
		return infos, nil
	}
	root, err := owned.Directory(root, variable)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, unusable(root, err)
	}
	for _, entry := range entries {
		if entry.Type()&fs.ModeSymlink == 0 || strings.Contains(entry.Name(), ".") {
			continue
		}
		if dir, err := filepath.EvalSymlinks(filepath.Join(root, entry.Name())); err == nil {
			infos = append(infos, inform(root, entry.Name(), dir))
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.LastUsed+a.Key, b.LastUsed+b.Key) })
	return infos, nil
}

func inform(root, key, dir string) Info {
	info := Info{Key: key, Path: dir}
	var record contracts.EnvironmentRecord
	if data, err := os.ReadFile(filepath.Join(dir, recordFile)); err == nil && json.Unmarshal(data, &record) == nil {
		info.Python, info.Packages, info.Digest = record.Python, len(record.Packages), record.Digest()
	}
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil
		}
		if file, err := entry.Info(); err == nil {
			info.Bytes += file.Size()
		}
		return nil
	})
	if stat, err := os.Stat(useLock(root, dir)); err == nil {
		info.LastUsed = stat.ModTime().UTC().Format(time.RFC3339)
	}
	use, free := lock.Try(useLock(root, dir))
	use.Unlock()
	info.InUse = !free
	return info
}

// CollectOptions say which environments may go. With neither limit, none does.
type CollectOptions struct {
	MaxBytes  int64         // remove the least recently used until the rest is no larger; 0 is no limit
	OlderThan time.Duration // remove what was not used for so long; 0 is no limit
	DryRun    bool
}

// Collect removes environments that nobody uses, and tells which.
func Collect(ctx context.Context, root string, opts CollectOptions) ([]Info, error) {
	infos, err := List(root)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, info := range infos {
		total += info.Bytes
	}
	collected := []Info{}
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return collected, err
		}
		used, _ := time.Parse(time.RFC3339, info.LastUsed)
		old := opts.OlderThan > 0 && time.Since(used) > opts.OlderThan
		large := opts.MaxBytes > 0 && total > opts.MaxBytes
		if info.InUse || !old && !large {
			continue
		}
		if !opts.DryRun && !remove(filepath.Dir(info.Path), info.Key) {
			continue
		}
		total -= info.Bytes
		collected = append(collected, info)
	}
	return collected, nil
}

// remove deletes an environment unless somebody took it into use meanwhile. The link goes
// first: what looks for it sees all of it or a miss.
func remove(root, key string) bool {
	building, free := lock.Try(filepath.Join(root, locksDir, key))
	if !free {
		return false
	}
	defer building.Unlock()
	dir, err := filepath.EvalSymlinks(filepath.Join(root, key))
	if err != nil {
		return false
	}
	use, free := lock.Try(useLock(root, dir))
	if !free {
		return false
	}
	defer use.Unlock()
	if os.Remove(filepath.Join(root, key)) != nil {
		return false
	}
	discard(root, dir)
	use.Unlock()
	sweep(root, key)
	return true
}
