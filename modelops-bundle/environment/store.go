package environment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

const (
	fileExt      = ".yaml"
	tombstoneExt = ".destroyed" // <name>.destroyed: the environment was destroyed, and when
)

// Store is the environment files of one home.
type Store struct {
	home string
	dir  string
}

// Open is the store under the suite's home, see [Home]. Nothing is read or made.
func Open(home string) Store {
	return Store{home: home, dir: filepath.Join(home, "bundle-env")}
}

// Dir is the directory of the environment files.
func (s Store) Dir() string { return s.dir }

// Path is where the file of an environment lies, or would. name is a valid name.
func (s Store) Path(name string) string { return filepath.Join(s.dir, name+fileExt) }

// Loaded is an environment file that was read.
type Loaded struct {
	Env      *contracts.BundleEnvironment
	Path     string
	Warnings []contracts.Problem // nothing that keeps the file from being used
}

// Entry is one file of a listing.
type Entry struct {
	Name   string // the file's name without its extension; not a valid name when Err says so
	Path   string
	Loaded *Loaded // nil when Err is set
	Err    error
}

// List is every environment file, sorted by name, invalid ones with their error. It is
// empty when there is no directory; the error is about the directory alone.
func (s Store) List() ([]Entry, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(s.dir, err)
	}
	var list []Entry
	for _, file := range files {
		name, path := file.Name(), filepath.Join(s.dir, file.Name())
		stem := strings.TrimSuffix(strings.TrimSuffix(name, ".yml"), fileExt)
		if stem == name || strings.HasPrefix(name, ".") {
			continue
		}
		entry := Entry{Name: stem, Path: path}
		if filepath.Ext(name) != fileExt {
			entry.Err = untrusted(path, "does not end in .yaml", "rename it to "+stem+fileExt)
		} else if entry.Err = contracts.ValidateEnvironmentName(stem); entry.Err == nil {
			entry.Loaded, entry.Err = s.load(stem)
		}
		list = append(list, entry)
	}
	return list, nil
}

// names are the valid names that have a file.
func (s Store) names() ([]string, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(s.dir, err)
	}
	var names []string
	for _, file := range files {
		stem, isYAML := strings.CutSuffix(file.Name(), fileExt)
		if isYAML && contracts.ValidateEnvironmentName(stem) == nil {
			names = append(names, stem)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Load reads the file of the named environment. A missing one is an error with
// [contracts.CodeEnvironmentNotFound] that says which there are.
func (s Store) Load(name string) (*Loaded, error) {
	name = contracts.NormalizeEnvironmentName(name)
	if err := contracts.ValidateEnvironmentName(name); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	loaded, err := s.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.notFound(name)
	}
	return loaded, err
}

// Read is the file of the named environment as it is, valid or not, for who keeps it.
// name is a valid name; a missing file is an [fs.ErrNotExist].
func (s Store) Read(name string) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	data, _, err := opener{}.read(s.Path(name))
	return data, err
}

// check refuses directories that others can change.
func (s Store) check() error {
	if err := CheckDirectory(s.home); err != nil {
		return err
	}
	return CheckDirectory(s.dir)
}

func (s Store) load(name string) (*Loaded, error) {
	path := s.Path(name)
	loaded, err := load(opener{}, path)
	if err != nil {
		return nil, err
	}
	if loaded.Env.Environment != name {
		problem := contracts.Problem{
			Field:   "environment",
			Message: "is " + loaded.Env.Environment + ", and the file is " + name + fileExt,
			Hint:    "rename the file, or write environment: " + name,
		}
		return nil, &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment,
			Message: "environment file " + contracts.Quote(path) + ": " + problem.String(), Hint: problem.Hint,
			Problems: []contracts.Problem{problem}}
	}
	return loaded, nil
}

// LoadFile reads an environment file that was named, or mounted: wherever it lies, links
// followed, whoever owns it.
func LoadFile(path string) (*Loaded, error) {
	loaded, err := load(opener{links: true}, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &contracts.Error{Code: contracts.CodeEnvironmentNotFound, Stage: contracts.StageEnvironment,
			Message: "there is no environment file " + contracts.Quote(path)}
	}
	return loaded, err
}

func load(o opener, path string) (*Loaded, error) {
	data, seen, err := o.read(path)
	if err != nil {
		return nil, err
	}
	env, warnings, err := contracts.ParseEnvironment(path, data)
	if err != nil {
		return nil, err
	}
	if seen && hasSecret(env) {
		warnings = append(warnings, contracts.Problem{Message: "holds secrets and can be read by other users", Hint: "chmod 600 " + path})
	}
	return &Loaded{Env: env, Path: path, Warnings: warnings}, nil
}

func hasSecret(env *contracts.BundleEnvironment) bool {
	return env.Registry.Password != "" || env.Storage != nil && (env.Storage.ConnectionString != "" || env.Storage.SecretKey != "")
}

// notFound says what there is instead.
func (s Store) notFound(name string) error {
	e := &contracts.Error{Code: contracts.CodeEnvironmentNotFound, Stage: contracts.StageEnvironment}
	names, err := s.names()
	if err != nil {
		return err
	}
	switch t, destroyed := s.destroyed(name); {
	case destroyed:
		e.Message = "environment " + name + " was destroyed at " + t.UTC().Format(time.RFC3339)
		e.Hint = "mops infra up makes it again, empty"
	case isThere(filepath.Join(s.dir, name+".yml")):
		e.Message = fmt.Sprintf("environment %s not found at %s", name, contracts.Quote(s.Path(name)))
		e.Hint = "there is " + name + ".yml: rename it to " + name + fileExt
	case len(names) == 0:
		e.Message = "no environments found in " + contracts.Quote(s.dir) + s.obituaries()
		e.Hint = "make one: mops infra up; or install one that you were given: mops env add FILE"
	default:
		e.Message = fmt.Sprintf("environment %s not found at %s; available: %s", name, contracts.Quote(s.Path(name)), strings.Join(names, ", "))
		e.Hint = "name one of them: --env " + names[0]
	}
	return e
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Save writes env to its file, 0600 in a directory 0700, in one step: readers find the
// old content or the new. It returns the file's path. Whether the file may be replaced
// is for the caller to know.
func (s Store) Save(env *contracts.BundleEnvironment) (path string, err error) {
	data, err := env.Marshal()
	if err != nil {
		return "", err
	}
	return s.Install(env.Environment, data)
}

// Install writes the file of the named environment as [Store.Save] does, from bytes that
// were checked by [contracts.ParseEnvironment].
func (s Store) Install(name string, data []byte) (path string, err error) {
	if err := contracts.ValidateEnvironmentName(name); err != nil {
		return "", err
	}
	if err := s.prepare(); err != nil {
		return "", err
	}
	path = s.Path(name)
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return "", unwritable(path, err)
	}
	if err := os.Remove(s.tombstone(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", unwritable(s.tombstone(name), err)
	}
	return path, nil
}

// Sweep removes what commands that were killed while they wrote the file of the named
// environment left beside it: there may be secrets in it.
func (s Store) Sweep(name string) error {
	if err := s.check(); err != nil {
		return err
	}
	if err := atomicfile.Sweep(s.Path(name)); err != nil {
		return unwritable(s.dir, err)
	}
	return nil
}

// Bury replaces the file of an environment whose registry was destroyed by a note of
// when, so that a later command can say so.
func (s Store) Bury(name string, t time.Time) error {
	if err := contracts.ValidateEnvironmentName(name); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	data, err := json.Marshal(tombstone{Environment: name, Destroyed: t.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.tombstone(name), append(data, '\n'), 0o600); err != nil {
		return unwritable(s.tombstone(name), err)
	}
	if err := os.Remove(s.Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritable(s.Path(name), err)
	}
	return nil
}

type tombstone struct {
	Environment string    `json:"environment"`
	Destroyed   time.Time `json:"destroyed"`
}

func (s Store) tombstone(name string) string { return filepath.Join(s.dir, name+tombstoneExt) }

// obituaries says which environments there were.
func (s Store) obituaries() string {
	notes, err := filepath.Glob(s.tombstone("*"))
	if err != nil {
		return ""
	}
	text := ""
	for _, note := range notes {
		name := strings.TrimSuffix(filepath.Base(note), tombstoneExt)
		if t, ok := s.destroyed(name); ok && contracts.ValidateEnvironmentName(name) == nil {
			text += "; " + name + " was destroyed at " + t.UTC().Format(time.RFC3339)
		}
	}
	return text
}

func (s Store) destroyed(name string) (time.Time, bool) {
	data, _, err := opener{}.read(s.tombstone(name))
	if err != nil {
		return time.Time{}, false
	}
	var t tombstone
	if err := json.Unmarshal(data, &t); err != nil {
		return time.Time{}, false
	}
	return t.Destroyed, true
}

// prepare makes the directories, or refuses those that others can change.
func (s Store) prepare() error {
	if err := s.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return unwritable(s.dir, err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return unwritable(s.dir, err)
	}
	return nil
}

func unwritable(path string, err error) error {
	e := contracts.AsError(unreadable(path, err))
	e.Message = "write" + strings.TrimPrefix(e.Message, "read")
	return e
}
