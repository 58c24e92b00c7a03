package bundle

import (
	"maps"
	"slices"
)

// Change is what became of one path between a base that two sides last agreed on, the
// local files and the remote ones.
type Change string

// The changes, seen from here.
const (
	Unchanged      Change = "unchanged"
	AddedHere      Change = "added here"
	ModifiedHere   Change = "modified here"
	DeletedHere    Change = "deleted here"
	AddedRemote    Change = "added remotely"
	ModifiedRemote Change = "modified remotely"
	DeletedRemote  Change = "deleted remotely"
	Conflict       Change = "changed on both sides"
)

// Difference is a path and what became of it.
type Difference struct {
	Path   string `json:"path"`
	Change Change `json:"change"`
}

// Compare puts the three sides of every path side by side and returns those that are not
// unchanged, by path. Each map is from path to the file's identity, as [Identities] makes
// it; base is empty when nothing was agreed on yet, and then equal content is agreement.
func Compare(base, local, remote map[string]string) []Difference {
	all := map[string]bool{}
	for _, side := range []map[string]string{base, local, remote} {
		for p := range side {
			all[p] = true
		}
	}
	var differences []Difference
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if change := compare(base[p], local[p], remote[p]); change != Unchanged {
			differences = append(differences, Difference{p, change})
		}
	}
	return differences
}

// compare decides for one path; "" is absence.
func compare(base, local, remote string) Change {
	switch {
	case local == remote:
		return Unchanged
	case remote == base:
		return pick(local, base, AddedHere, ModifiedHere, DeletedHere)
	case local == base:
		return pick(remote, base, AddedRemote, ModifiedRemote, DeletedRemote)
	default:
		return Conflict
	}
}

func pick(now, before string, added, modified, deleted Change) Change {
	switch {
	case before == "":
		return added
	case now == "":
		return deleted
	default:
		return modified
	}
}

// Identities maps each file's path to what it is: its digest, and a mark when it is
// executable.
func Identities(files []File) map[string]string {
	identities := make(map[string]string, len(files))
	for _, f := range files {
		identities[f.Path] = f.Identity()
	}
	return identities
}

// Identity is the file's digest, followed by "+x" when it is executable.
func (f File) Identity() string {
	if f.Mode == Executable {
		return string(f.Digest) + executableMark
	}
	return string(f.Digest)
}

const executableMark = "+x"
