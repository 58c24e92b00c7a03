package name_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

func choice(env, user string) name.Choice {
	return name.Choice{Input: name.Input{Environment: env, Username: user, SubscriptionID: subscription}}
}

func settle(t *testing.T, l name.Ledger, c name.Choice) name.Names {
	t.Helper()
	looked, err := l.Look(c)
	if err != nil {
		t.Fatal(err)
	}
	names, err := l.Settle(c)
	if err != nil || names != looked {
		t.Fatalf("%v %v, looked %v", names, err, looked)
	}
	return names
}

func refused(t *testing.T, l name.Ledger, c name.Choice, code contracts.Code, message, hint string) {
	t.Helper()
	_, lookErr := l.Look(c)
	_, err := l.Settle(c)
	e := contracts.AsError(err)
	if lookErr == nil || e == nil || e.Code != code || !strings.Contains(e.Message, message) || !strings.Contains(e.Hint, hint) {
		t.Errorf("%v (hint %v), want %s %q %q", err, e, code, message, hint)
	}
}

func TestSettle(t *testing.T) {
	l := name.Ledger{Home: t.TempDir()}
	path := filepath.Join(l.Home, "state", "names", "dev.json")
	if _, err := l.Look(choice("dev", "vsb")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("looking records")
	}
	first := settle(t, l, choice("dev", "vsb"))
	if first.Registry != "modelopsdevacrvsb" {
		t.Error(first)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}

	// Another user, or none that is valid, renames nothing.
	for _, user := range []string{"alice", "", "日本"} {
		if got := settle(t, l, choice("dev", user)); got != first {
			t.Errorf("%s renames to %v", user, got)
		}
	}
	same := choice("dev", "alice")
	same.Given.Registry = first.Registry
	if got := settle(t, l, same); got != first {
		t.Error(got)
	}

	given := choice("dev", "vsb")
	given.Given.Registry = "another"
	refused(t, l, given, contracts.CodeConflict, "the registry of environment dev was made as modelopsdevacrvsb, and the configuration calls it another", "write registry.name: modelopsdevacrvsb; for another one")
	adopted := choice("dev", "vsb")
	adopted.Given.StorageAccount, adopted.Adopted.StorageAccount = first.StorageAccount, true
	refused(t, l, adopted, contracts.CodeConflict, "it was made by mops as modelopsdevvsba1f2", "--destroy-storage")
	moved := choice("dev", "vsb")
	moved.SubscriptionID = "00000000-0000-0000-0000-000000000001"
	refused(t, l, moved, contracts.CodeConflict, "was made in subscription "+subscription, "settings.environment")

	// What was removed may be called otherwise; the rest stays.
	if err := l.Forget("dev", name.Parts{Registry: true}); err != nil {
		t.Fatal(err)
	}
	if got := settle(t, l, given); got.Registry != "another" || got.StorageAccount != first.StorageAccount {
		t.Error(got)
	}
	if err := l.Forget("dev", name.Parts{ResourceGroup: true, Registry: true, StorageAccount: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the record of nothing is kept")
	}
	if err := l.Forget("dev", name.Parts{Registry: true}); err != nil {
		t.Error(err)
	}
}

// What exists already is used as it is given and not recorded, so that it can be another
// one later.
func TestAdopted(t *testing.T) {
	l := name.Ledger{Home: t.TempDir()}
	c := choice("prod", "")
	c.Given.Registry, c.Adopted.Registry = "teamregistry", true
	first := settle(t, l, c)
	if first.Registry != "teamregistry" || !strings.HasPrefix(first.StorageAccount, "modelopsprdsto") {
		t.Error(first)
	}
	c.Given.Registry = "otherregistry"
	if got := settle(t, l, c); got.Registry != "otherregistry" || got.StorageAccount != first.StorageAccount {
		t.Error(got)
	}
	c.Given.Registry, c.Adopted.Registry = "", false
	own := settle(t, l, c)
	if !strings.HasPrefix(own.Registry, "modelopsprodacr") {
		t.Error(own)
	}
	c.Given.Registry, c.Adopted.Registry = "teamregistry", true
	refused(t, l, c, contracts.CodeConflict, "made by mops as "+own.Registry, "not existing")
}

func TestSettleChecksLimits(t *testing.T) {
	l := name.Ledger{Home: t.TempDir()}
	c := choice("dev", "vsb")
	c.Given.StorageAccount = "my-account"
	refused(t, l, c, contracts.CodeInvalidName, "the storage account's name my-account is not a name that Azure allows", "3 to 24 characters")
	refused(t, l, choice("dev", "日本"), contracts.CodeInvalidName, "username", "--username")
	refused(t, l, choice("../dev", "vsb"), contracts.CodeInvalidName, "environment name", "")
	if entries, err := os.ReadDir(l.Home); err != nil || len(entries) > 0 {
		t.Error(entries, err)
	}
}

func TestDamagedRecord(t *testing.T) {
	l := name.Ledger{Home: t.TempDir()}
	settle(t, l, choice("dev", "vsb"))
	path := filepath.Join(l.Home, "state", "names", "dev.json")
	for _, content := range []string{"", "{", "{}", `{"environment":"prod","subscription_id":"x","names":{}}`, `{"environment":"dev","subscription_id":"x","names":{"registry":"A/B"}}`, `{"environment":"dev","subscription_id":"x","later":1}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, l, choice("dev", "vsb"), contracts.CodeIntegrity, "is damaged", "restore it")
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("changed to %s, %v", got, err)
		}
	}
}

func TestConcurrentSettle(t *testing.T) {
	l := name.Ledger{Home: t.TempDir()}
	var wait sync.WaitGroup
	answers := make([]name.Names, 20)
	for i := range answers {
		wait.Go(func() {
			var err error
			if answers[i], err = l.Settle(choice("dev", fmt.Sprint("user", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, names := range answers {
		if names != answers[0] {
			t.Errorf("%v and %v", names, answers[0])
		}
	}
}

// An environment that has no cluster records no name of one, and one that it is given
// later is recorded then.
func TestUnwanted(t *testing.T) {
	l := name.Ledger{Home: t.TempDir()}
	without := choice("dev", "vsb")
	without.Unwanted.Cluster = true
	names, err := l.Settle(without)
	if err != nil || names.Cluster != "" || names.Registry == "" {
		t.Fatal(names, err)
	}
	with := choice("dev", "vsb")
	with.Given.Cluster = "mine"
	if names, err = l.Settle(with); err != nil || names.Cluster != "mine" {
		t.Fatal(names, err)
	}
	if names, err = l.Settle(without); err != nil || names.Cluster != "mine" {
		t.Error("what was made is forgotten", names, err)
	}
	with.Given.Cluster = "another"
	if _, err = l.Settle(with); err == nil || !strings.Contains(contracts.AsError(err).Hint, "mops infra down") {
		t.Error(err)
	}
	if err := l.Forget("dev", name.Parts{Cluster: true}); err != nil {
		t.Fatal(err)
	}
	if names, err = l.Settle(with); err != nil || names.Cluster != "another" {
		t.Error(names, err)
	}
}
