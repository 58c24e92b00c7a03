package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// State is what a project last agreed on with registries. Its keys are the Python
// suite's, and more.
type State struct {
	LastPush contracts.Digest `json:"last_push_digest,omitempty"`
	LastPull contracts.Digest `json:"last_pull_digest,omitempty"`
	// Synced is, of each file of the bundle that the default tag last had here, its
	// digest.
	Synced Files `json:"last_synced_files"`
	// SyncedBundle is that bundle, where this version noted it.
	SyncedBundle contracts.Digest `json:"last_synced_digest,omitempty"`
	// Format is of that bundle; empty for packed.
	Format bundle.Format `json:"last_synced_format,omitempty"`
	// Executable names those of them that are.
	Executable []string `json:"last_synced_executable,omitempty"`
	// Bases is, for each "registry/repository:tag", what this side last saw it point to.
	Bases map[string]contracts.Digest `json:"bases"`
	// Contents is the content digest of each bundle that is named above: with it, nothing
	// need be fetched to see that its files lie here.
	Contents map[contracts.Digest]contracts.Digest `json:"contents,omitempty"`
	// Pushed is when this side last pushed "registry/repository@digest", in seconds since
	// 1970: what gc may look at.
	Pushed    map[string]int64 `json:"pushed,omitempty"`
	Timestamp float64          `json:"timestamp"` // seconds since 1970
}

// ReadState is the project's state; empty when it has none yet.
func (p *Project) ReadState() (*State, error) {
	s := &State{}
	path := p.path(stateFile)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(path, err)
	}
	if err == nil {
		if err := json.Unmarshal(withoutNulls(data), s); err != nil {
			return nil, broken(path, err)
		}
	}
	s.Synced.path = path
	if s.Bases == nil { // the Python suite's, or none
		files, err := s.Synced.digests()
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			s.Format = bundle.Files
		}
		s.Bases = map[string]contracts.Digest{}
	}
	return s, nil
}

func broken(path string, err error) error {
	return (&contracts.Error{
		Code: contracts.CodeInvalidProject, Stage: contracts.StageProject,
		Message: contracts.Quote(path) + " is broken: " + contracts.Quote(err.Error()),
		Hint:    "remove it; the next push or pull compares with the registry and says what differs",
	}).Because(err)
}

// Files is digests by path. It is read when somebody asks for it: of 20,000 files that takes
// as long as half of what else a push does that has nothing to do.
type Files struct {
	path string // of the state
	text json.RawMessage
}

// UnmarshalJSON keeps the text.
func (f *Files) UnmarshalJSON(text []byte) error { return f.text.UnmarshalJSON(text) }

// MarshalJSON is the text.
func (f Files) MarshalJSON() ([]byte, error) {
	if len(f.text) == 0 {
		return []byte("{}"), nil
	}
	return f.text, nil
}

func (f Files) digests() (map[string]contracts.Digest, error) {
	if len(f.text) == 0 {
		return nil, nil
	}
	var files map[string]contracts.Digest
	if err := json.Unmarshal(f.text, &files); err != nil {
		return nil, broken(f.path, err)
	}
	return files, nil
}

// newFiles is the files of an index, which are sorted.
func newFiles(path string, files []bundle.File) Files {
	text := append(make([]byte, 0, 128*len(files)+2), '{')
	for i, f := range files {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(f.Path)
		if err != nil { // a string
			panic(err)
		}
		text = append(append(append(append(text, name...), `:"`...), f.Digest...), '"')
	}
	return Files{path, append(text, '}')}
}

// withoutNulls drops the keys that the Python suite writes as null.
func withoutNulls(data []byte) []byte {
	if !bytes.Contains(data, []byte("null")) {
		return data
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(data, &keys) != nil {
		return data
	}
	maps.DeleteFunc(keys, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	cleaned, err := json.Marshal(keys)
	if err != nil {
		return data
	}
	return cleaned
}

// Agreed is the files that were last agreed on.
func (s *State) Agreed() (Agreed, error) {
	files, err := s.identities()
	if s.Format == bundle.Files {
		return Agreed{bundle.Files, files}, err
	}
	return Agreed{bundle.Packed, files}, err
}

// Agreed is the files of a bundle, as [bundle.Identities] has them in its format.
type Agreed struct {
	Format bundle.Format
	Files  map[string]string
}

// AgreedOn is the files of the bundle with this index.
func AgreedOn(x *bundle.Index) Agreed { return Agreed{x.Format(), bundle.Identities(x.Files)} }

func (s *State) identities() (map[string]string, error) {
	digests, err := s.Synced.digests()
	if err != nil {
		return nil, err
	}
	files := make(map[string]bundle.File, len(digests))
	for path, digest := range digests {
		files[path] = bundle.File{Digest: digest, Mode: bundle.Regular}
	}
	for _, path := range s.Executable {
		if f, ok := files[path]; ok {
			f.Mode = bundle.Executable
			files[path] = f
		}
	}
	identities := make(map[string]string, len(files))
	for path, f := range files {
		identities[path] = f.Identity()
	}
	return identities, nil
}

// BaseKey names a tag of a repository in a registry.
func BaseKey(location contracts.Location, tag string) string { return location.String() + ":" + tag }

// jobTag begins the tags of jobs, each of which is written once: nothing is agreed on by
// them.
const jobTag = "job-"

// Agree notes that the tag points to the bundle of this index, and that its files are what
// lies here. Only the project's default tag decides what counts as changed since.
func (s *State) Agree(key, tag string, isDefault bool, d contracts.Digest, x *bundle.Index) {
	if !strings.HasPrefix(tag, jobTag) {
		s.Bases[key] = d
	}
	if !isDefault {
		return
	}
	s.Synced, s.SyncedBundle, s.Executable, s.Format = newFiles(s.Synced.path, x.Files), d, nil, ""
	if x.Format() == bundle.Files {
		s.Format = bundle.Files
	}
	for _, f := range x.Files {
		if f.Mode == bundle.Executable {
			s.Executable = append(s.Executable, f.Path)
		}
	}
}

// Knows says whether the state says already what [State.Agree] and [State.Describe] would
// have it say. key is empty for no tag.
func (s *State) Knows(key string, isDefault bool, d, content contracts.Digest) bool {
	return s.Contents[d] == content && (key == "" || s.Bases[key] == d) && (!isDefault || s.SyncedBundle == d)
}

// Describe notes the content digest of a bundle, and forgets those of bundles that the
// state no longer names.
func (s *State) Describe(d, content contracts.Digest) {
	named := map[contracts.Digest]bool{d: true, s.LastPush: true, s.LastPull: true}
	for _, base := range s.Bases {
		named[base] = true
	}
	if s.Contents == nil {
		s.Contents = map[contracts.Digest]contracts.Digest{}
	}
	s.Contents[d] = content
	maps.DeleteFunc(s.Contents, func(bundle, _ contracts.Digest) bool { return !named[bundle] })
}

// Known is the bundles that this project has seen in the repository, the last one first.
func (s *State) Known(location contracts.Location) []contracts.Digest {
	var known []contracts.Digest
	for _, d := range []contracts.Digest{s.LastPush, s.LastPull} {
		if d != "" {
			known = append(known, d)
		}
	}
	for key, d := range s.Bases {
		if strings.HasPrefix(key, location.String()+":") {
			known = append(known, d)
		}
	}
	return known
}

// maxPushed bounds what is remembered; gc forgets what it deleted.
const maxPushed = 10_000

// Push notes that a bundle was pushed to the repository now.
func (s *State) Push(location contracts.Location, d contracts.Digest) {
	if s.Pushed == nil {
		s.Pushed = map[string]int64{}
	}
	s.LastPush = d
	s.Pushed[pushedKey(location, d)] = time.Now().Unix()
	for len(s.Pushed) > maxPushed {
		oldest, at := "", int64(math.MaxInt64)
		for key, when := range s.Pushed {
			if when < at {
				oldest, at = key, when
			}
		}
		delete(s.Pushed, oldest)
	}
}

// HasPushed says whether this side has pushed the bundle to the repository last.
func (s *State) HasPushed(location contracts.Location, d contracts.Digest) bool {
	_, pushed := s.Pushed[pushedKey(location, d)]
	return pushed && s.LastPush == d
}

// PushedTo is what was pushed to the repository from here, and when.
func (s *State) PushedTo(location contracts.Location) map[contracts.Digest]time.Time {
	pushed := map[contracts.Digest]time.Time{}
	for key, at := range s.Pushed {
		name, text, _ := strings.Cut(key, "@")
		if d, err := contracts.ParseDigest(text); err == nil && name == location.String() {
			pushed[d] = time.Unix(at, 0).UTC()
		}
	}
	return pushed
}

// Forget drops a bundle from what was pushed.
func (s *State) Forget(location contracts.Location, d contracts.Digest) {
	delete(s.Pushed, pushedKey(location, d))
}

func pushedKey(location contracts.Location, d contracts.Digest) string {
	return location.String() + "@" + string(d)
}

// WriteState replaces the project's state.
func (p *Project) WriteState(s *State) error {
	s.Timestamp = float64(time.Now().UnixMicro()) / 1e6
	data, err := s.document()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(p.path(stateFile), append(data, '\n'), 0o644); err != nil {
		return Unwritable(p.path(stateFile), err)
	}
	return nil
}

// document is the state's JSON. The files are put into it as they are: json would read the
// text of 20,000 for longer than all else takes that a push does at its end.
func (s *State) document() ([]byte, error) {
	rest := *s
	rest.Synced = Files{}
	data, err := json.Marshal(&rest)
	if err != nil {
		return nil, err
	}
	files, err := s.Synced.MarshalJSON()
	const key = `"last_synced_files":`
	return bytes.Replace(data, []byte(key+"{}"), append([]byte(key), files...), 1), err
}

// StatCache is what the project's files were when they were last read for a bundle of the
// format.
func (p *Project) StatCache(format bundle.Format) *bundle.Cache {
	if format == bundle.Files {
		return bundle.OpenCache(p.path(filesCacheFile))
	}
	return bundle.OpenCache(p.path(cacheFile))
}
