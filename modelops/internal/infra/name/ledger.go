package name

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

// Choice is what a configuration says about names.
type Choice struct {
	Input
	Given    Names // what it leaves empty is derived
	Adopted  Parts // they exist already, under the names that are given, and are not made
	Unwanted Parts // they are not made, and have the names only that were recorded for them
}

// Parts are parts of an environment.
type Parts struct{ ResourceGroup, Registry, StorageAccount, Cluster bool }

// Ledger keeps the names that environments were made under, one file for each:
// $MODELOPS_HOME/state/names/<environment>.json. What is adopted is not in it.
type Ledger struct{ Home string }

// entry is the file of an environment.
type entry struct {
	Environment    string `json:"environment"`
	SubscriptionID string `json:"subscription_id"`
	Username       string `json:"username,omitempty"` // for who reads it
	Names          Names  `json:"names"`
}

// part is one name of Names.
type part struct {
	what, key string // "registry", "registry.name"
	name      *string
	in        *bool
}

func pair(n *Names, p *Parts) []part {
	return []part{
		{"resource group", "azure.resource_group", &n.ResourceGroup, &p.ResourceGroup},
		{"registry", "registry.name", &n.Registry, &p.Registry},
		{"storage account", "storage.name", &n.StorageAccount, &p.StorageAccount},
		{"cluster", "cluster.name", &n.Cluster, &p.Cluster},
	}
}

// Look is the names that Settle would answer, of which nothing is recorded.
func (l Ledger) Look(c Choice) (Names, error) {
	names, _, _, err := l.decide(c)
	return names, err
}

// Settle is the names to make an environment under: those that are recorded; else those
// that are given, and those that are derived, which it records. A choice that contradicts
// the record is an error with [contracts.CodeConflict]; names are checked against Azure's
// limits first. Of concurrent callers all get the names of one.
func (l Ledger) Settle(c Choice) (Names, error) {
	names, before, after, err := l.decide(c)
	if err != nil || before != nil && *before == after {
		return names, err
	}
	path := l.path(c.Environment)
	data, err := json.MarshalIndent(after, "", "  ")
	if err != nil {
		return Names{}, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Names{}, infra.Cannot("make", filepath.Dir(path), err)
	}
	data = append(data, '\n')
	if before == nil {
		err = atomicfile.Create(path, data, 0o600)
		if errors.Is(err, fs.ErrExist) { // another command was quicker; it never removes one
			names, _, _, err = l.decide(c)
			return names, err
		}
	} else { // a part that was adopted, or removed, is to be made now
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		return Names{}, infra.Cannot("write", path, err)
	}
	return names, nil
}

// decide is the names for a choice, and the file as it is, nil for none, and should be.
func (l Ledger) decide(c Choice) (names Names, before *entry, after entry, err error) {
	if err := contracts.ValidateEnvironmentName(c.Environment); err != nil {
		return Names{}, nil, entry{}, err
	}
	if before, err = l.read(c.Environment); err != nil {
		return Names{}, nil, entry{}, err
	}
	after = entry{Environment: c.Environment, SubscriptionID: strings.ToLower(c.SubscriptionID), Username: c.Username}
	if before != nil {
		if !strings.EqualFold(before.SubscriptionID, c.SubscriptionID) {
			return Names{}, nil, entry{}, conflict(
				fmt.Sprintf("environment %s was made in subscription %s, and the configuration says %s", c.Environment, before.SubscriptionID, c.SubscriptionID),
				"put azure.subscription_id back; in another subscription it is another environment: settings.environment")
		}
		after = *before
	}
	if names, err = l.merge(c, &after); err != nil {
		return Names{}, nil, entry{}, err
	}
	return names, before, after, names.check()
}

// merge is the names for a choice beside what e has, and adds to e those to be made.
func (l Ledger) merge(c Choice, e *entry) (Names, error) {
	var names, derived Names
	given, derivedParts, unwanted := pair(&c.Given, &c.Adopted), pair(&derived, &Parts{}), pair(&Names{}, &c.Unwanted)
	for i, recorded := range pair(&e.Names, &Parts{}) {
		adopted := *given[i].in
		name := *given[i].name
		switch {
		case *recorded.name != "" && adopted:
			return Names{}, conflict(
				fmt.Sprintf("the configuration takes the %s of environment %s for one that exists already, and it was made by mops as %s", recorded.what, c.Environment, *recorded.name),
				l.wayOut("say that it is not existing", recorded))
		case *recorded.name != "" && name != "" && name != *recorded.name:
			return Names{}, conflict(
				fmt.Sprintf("the %s of environment %s was made as %s, and the configuration calls it %s", recorded.what, c.Environment, *recorded.name, name),
				l.wayOut("write "+recorded.key+": "+*recorded.name, recorded))
		case *recorded.name != "":
			name = *recorded.name
		case *unwanted[i].in:
			continue
		case name == "":
			if derived == (Names{}) {
				var err error
				if derived, err = Derive(c.Input); err != nil {
					return Names{}, err
				}
			}
			name = *derivedParts[i].name
		}
		*pair(&names, &Parts{})[i].name = name
		if !adopted {
			*recorded.name = name
		}
	}
	return names, nil
}

// wayOut is the hint for a choice that contradicts the record.
func (l Ledger) wayOut(mend string, p part) string {
	switch p.what {
	case "registry":
		return mend + "; for another one, first remove that with its bundles: mops infra down --destroy-registry"
	case "storage account":
		return mend + "; for another one, first remove that with its results: mops infra down --destroy-storage"
	case "cluster":
		return mend + "; for another one, first remove that: mops infra down"
	}
	return mend + "; in another resource group it is another environment: settings.environment"
}

// Forget removes names whose parts are no more; the file goes with the last of them.
func (l Ledger) Forget(environment string, gone Parts) error {
	e, err := l.read(environment)
	if err != nil || e == nil {
		return err
	}
	for _, p := range pair(&e.Names, &gone) {
		if *p.in {
			*p.name = ""
		}
	}
	path := l.path(environment)
	if e.Names == (Names{}) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return infra.Cannot("remove", path, err)
		}
		return nil
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, append(data, '\n'), 0o600); err != nil {
		return infra.Cannot("write", path, err)
	}
	return nil
}

func (l Ledger) path(environment string) string {
	return filepath.Join(l.Home, "state", "names", environment+".json")
}

// read is the file of an environment; nil when there is none. A damaged one is an error:
// to take it for none would rename what was made.
func (l Ledger) read(environment string) (*entry, error) {
	path := l.path(environment)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, infra.Cannot("read", path, err)
	}
	e := &entry{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil || e.Environment != environment || e.SubscriptionID == "" || e.Names.check() != nil {
		return nil, &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
			Message: "the record of the names of environment " + environment + " is damaged: " + contracts.Quote(path),
			Hint:    "restore it; without it, azure.resource_group, registry.name and storage.name say what the parts are called: write them, then remove it"}
	}
	return e, nil
}

func conflict(message, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision, Message: message, Hint: hint}
}
