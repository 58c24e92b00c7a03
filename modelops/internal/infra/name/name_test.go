package name_test

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

const subscription = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

// The table of the Python suite's names, each with what became of it and why.
func TestGoldenNames(t *testing.T) {
	f, err := os.Open("testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		if strings.HasPrefix(lines.Text(), "#") || len(cells) != 9 {
			if lines.Text() != "" && !strings.HasPrefix(lines.Text(), "#") {
				t.Errorf("not a row: %s", lines.Text())
			}
			continue
		}
		rows++
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		in := name.Input{Environment: cells[0], Username: strings.TrimPrefix(cells[1], "-"), SubscriptionID: subscription}
		got, err := name.Derive(in)
		want, old := name.Names{ResourceGroup: cells[3], Registry: cells[5], StorageAccount: cells[7]}, name.Names{ResourceGroup: cells[2], Registry: cells[4], StorageAccount: cells[6]}
		if want.ResourceGroup == "refused" {
			if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeInvalidName || e.Hint == "" {
				t.Errorf("%v: %v %v, want an error", in, got, err)
			}
			continue
		}
		got.Cluster = "" // TestCluster
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v: %v %s", in, err, diff)
		}
		if kept := got == old; kept != (cells[8] == "kept") {
			t.Errorf("%v: is %v, was %v, and the table says %s", in, got, old, cells[8])
		}
	}
	if rows != 22 {
		t.Errorf("%d rows", rows)
	}
}

// The document of the suite names this registry.
func TestDocumentedRegistry(t *testing.T) {
	for _, id := range []string{subscription, "00000000-0000-0000-0000-000000000001"} {
		got, err := name.Derive(name.Input{Environment: "dev", Username: "vsb", SubscriptionID: id})
		if err != nil || got.Registry != "modelopsdevacrvsb" {
			t.Error(got, err)
		}
	}
}

// A cluster is called as the Python suite called it, where that took a username that is
// written as names have it.
func TestCluster(t *testing.T) {
	for _, row := range [][3]string{
		{"dev", "alice", "modelops-dev-aks-5b96"}, {"dev", "vsb", "modelops-dev-aks-a1f2"}, {"staging", "vsb", "modelops-staging-aks-554e"},
		{"prod", "", "modelops-prod-aks"}, {"prod", "alice", "modelops-prod-aks"}, {"qa-1", "vsb", "modelops-qa-1-aks"},
	} {
		got, err := name.Derive(name.Input{Environment: row[0], Username: row[1], SubscriptionID: subscription})
		if err != nil || got.Cluster != row[2] {
			t.Errorf("%v: %s %v", row, got.Cluster, err)
		}
	}
}

func TestUsername(t *testing.T) {
	for in, want := range map[string]string{
		"alice": "alice", "Bob.Smith": "bobsmith", "user-123": "user123", "john@example.com": "johnexamplecom",
		"UPPERCASE": "uppercase", "John.Doe": "johndoe", "user_name@domain": "usernamedomain", "ALICE": "alice",
		strings.Repeat("a", 20): strings.Repeat("a", 20),
	} {
		if got, err := name.Username(in); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "---", "日本", "josé", "rg", "R.G"} {
		if got, err := name.Username(in); contracts.AsError(err) == nil || contracts.AsError(err).Hint == "" {
			t.Errorf("%q is %q", in, got)
		}
	}
	// Two long ones that differ behind the 20th character are two.
	long, err := name.Username("verylongusernamethatexceedstheazurelimit")
	other, err2 := name.Username("verylongusernamethatexceedsthelimit")
	if err != nil || err2 != nil || len(long) != 20 || long == other || !strings.HasPrefix(long, "verylongusernam") {
		t.Error(long, other, err, err2)
	}
}

// Whatever the inputs are, names are within Azure's limits or refused, and different
// inputs have different registries, storage accounts and groups where a hash is in them.
func TestNamesProperty(t *testing.T) {
	registry, account := regexp.MustCompile(`^[a-z0-9]{5,50}$`), regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	group := regexp.MustCompile(`^[a-z0-9-]{1,89}[a-z0-9]$`)
	seen := map[string]string{}
	unique := func(kind, name, input string) bool {
		before, there := seen[kind+name]
		seen[kind+name] = input
		return !there || before == input
	}
	property := func(env, user uint32, id, length uint8) bool {
		// Few of each, so that inputs that differ in one alone occur.
		in := name.Input{Environment: environmentOf(env%50, int(length)%40), SubscriptionID: fmt.Sprintf("%08d-0000-0000-0000-000000000000", id%3)}
		if user%3 > 0 {
			in.Username = fmt.Sprintf("U%s.%x", strings.Repeat("x", int(length)%30), user%100)
		}
		got, err := name.Derive(in)
		if err != nil {
			return false
		}
		sanitised := ""
		if in.Username != "" {
			if sanitised, err = name.Username(in.Username); err != nil {
				return false
			}
		}
		input := fmt.Sprint(in.Environment, "/", sanitised, "/", in.SubscriptionID)
		ok := registry.MatchString(got.Registry) && account.MatchString(got.StorageAccount) && group.MatchString(got.ResourceGroup)
		if !name.Personal(in.Environment) || in.Username == "" {
			ok = ok && unique("registry ", got.Registry, input) && unique("account ", got.StorageAccount, input)
		}
		return ok && unique("group ", got.ResourceGroup+" "+in.SubscriptionID, input)
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 6000}); err != nil {
		t.Error(err)
	}
}

// environmentOf is a valid environment's name; some are personal, and many begin alike.
func environmentOf(n uint32, length int) string {
	switch n % 5 {
	case 0:
		return "dev"
	case 1:
		return "staging"
	}
	text := fmt.Sprintf("prod-%x", n) + strings.Repeat("-x", 20)
	return text[:max(6, length)]
}

// Environments that differ in hyphens only, or in case of the subscription, and the two
// readings of a group's name.
func TestAlike(t *testing.T) {
	derive := func(env, user, id string) name.Names {
		t.Helper()
		n, err := name.Derive(name.Input{Environment: env, Username: user, SubscriptionID: id})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := derive("qa-1", "vsb", subscription), derive("qa1", "vsb", subscription)
	if a.Registry == b.Registry || a.StorageAccount == b.StorageAccount || a.ResourceGroup == b.ResourceGroup {
		t.Error(a, b)
	}
	if a, b := derive("prod", "", subscription), derive("prod", "", strings.ToUpper(subscription)); a != b {
		t.Error(a, b)
	}
	if a, b := derive("dev", "Alice.Smith", subscription), derive("dev", "alice.smith", subscription); a != b {
		t.Error(a, b)
	}
	if _, err := name.Derive(name.Input{Environment: "dev-rg", SubscriptionID: subscription}); err == nil {
		t.Error("dev-rg without a user is called as dev with the user rg")
	}
	if _, err := name.Derive(name.Input{Environment: "../dev", Username: "vsb"}); err == nil {
		t.Error("not an environment")
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		limit     name.Limit
		good, bad []string
	}{
		{name.ResourceGroup(), []string{"a", "A_b-(c).d", strings.Repeat("a", 90)}, []string{"", "a.", "a b", "a/b", strings.Repeat("a", 91), "a\n"}},
		{name.Registry(), []string{"abcde", strings.Repeat("a", 50)}, []string{"abcd", "Abcde", "ab-cde", strings.Repeat("a", 51)}},
		{name.StorageAccount(), []string{"abc", strings.Repeat("1", 24)}, []string{"ab", "aBc", "a-bc", strings.Repeat("a", 25)}},
		{name.Container(), []string{"bundle-blobs", "a1b"}, []string{"ab", "-ab", "ab-", "a--b", "A-b", strings.Repeat("a", 64)}},
	} {
		for _, s := range test.good {
			if problem, _ := test.limit.Problem(s); problem != "" {
				t.Errorf("%q %s", s, problem)
			}
		}
		for _, s := range test.bad {
			if problem, hint := test.limit.Problem(s); problem == "" || hint == "" {
				t.Errorf("%q is accepted", s)
			}
		}
	}
	if _, hint := name.Registry().Problem("MyRegistry"); hint != "write myregistry" {
		t.Error(hint)
	}
}

// The rows of the Python suite's own tests that still hold.
func TestSuiteNames(t *testing.T) {
	for _, test := range []struct{ env, user, group, registry, account string }{
		{"dev", "", "modelops-dev-rg", "modelopsdevacr", "modelopsdevst"},
		{"prod", "", "modelops-prod-rg", "modelopsprodacr", "modelopsprdst"},
		{"dev", "alice", "modelops-dev-rg-alice", "modelopsdevacralice", "modelopsdevali5b96"},
		{"staging", "bob.smith", "modelops-staging-rg-bobsmith", "modelopsstagingacrbobsmith", "modelopsstabob"},
		{"prod", "user-123", "modelops-prod-rg-user123", "modelopsprodacr", "modelopsprdst"},
		{"dev", "test", "modelops-dev-rg-test", "modelopsdevacrtest", "modelopsdevtes"},
		{"verylongenvironmentname", "suffix", "modelops-verylongenvironmentname-rg-suffix", "modelopsverylongenvironmentn", "modelopsver"},
	} {
		got, err := name.Derive(name.Input{Environment: test.env, Username: test.user, SubscriptionID: subscription})
		if err != nil || got.ResourceGroup != test.group || !strings.HasPrefix(got.Registry, test.registry) || !strings.HasPrefix(got.StorageAccount, test.account) || len(got.StorageAccount) > 24 {
			t.Errorf("%v: %v %v", test, got, err)
		}
	}
}
