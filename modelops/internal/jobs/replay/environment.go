package replay

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Environment is the software around the model, in both.
type Environment struct {
	Same        bool                    `json:"same"`
	Recorded    string                  `json:"recorded"` // digest; "" when the task ended before one was known
	Replayed    string                  `json:"replayed"`
	Differences []EnvironmentDifference `json:"differences"`
	Known       bool                    `json:"-"` // both are on record in full, so Differences are all
}

// EnvironmentDifference is one thing that differs.
type EnvironmentDifference struct {
	Kind     string `json:"kind"` // python, platform or package
	Name     string `json:"name,omitempty"`
	Recorded string `json:"recorded"` // version; "" when it is not there
	Replayed string `json:"replayed"`
}

func (r *Replayer) compareEnvironments(ctx context.Context, replayed version) (Environment, error) {
	e := Environment{Recorded: r.Recorded.EnvironmentDigest, Replayed: replayed.EnvironmentDigest, Differences: []EnvironmentDifference{}}
	if e.Same = e.Recorded == e.Replayed; e.Same || e.Recorded == "" {
		return e, nil
	}
	recorded, err := r.Environment(ctx, e.Recorded)
	if err != nil {
		return e, err
	}
	if recorded != nil && replayed.Environment != nil {
		e.Known, e.Differences = true, environmentDifferences(recorded, replayed.Environment)
	}
	return e, nil
}

// environmentDifferences are what differs, the most telling first.
func environmentDifferences(recorded, replayed *contracts.EnvironmentRecord) []EnvironmentDifference {
	list := []EnvironmentDifference{}
	add := func(kind, name, x, y string) {
		if x != y {
			list = append(list, EnvironmentDifference{kind, name, x, y})
		}
	}
	add("python", "", recorded.Python, replayed.Python)
	add("platform", "", recorded.Platform, replayed.Platform)
	packages := slices.Concat(slices.Collect(maps.Keys(recorded.Packages)), slices.Collect(maps.Keys(replayed.Packages)))
	slices.SortFunc(packages, func(x, y string) int {
		return cmp.Or(cmp.Compare(oneSided(recorded, replayed, x), oneSided(recorded, replayed, y)), cmp.Compare(x, y))
	})
	for _, name := range slices.Compact(packages) {
		add("package", name, recorded.Packages[name], replayed.Packages[name])
	}
	return list
}

// oneSided is 1 for a package that only one of them has, and 0 for one of both: other
// versions tell more than what is missing.
func oneSided(recorded, replayed *contracts.EnvironmentRecord, name string) int {
	_, there := recorded.Packages[name]
	_, here := replayed.Packages[name]
	if there && here {
		return 0
	}
	return 1
}
