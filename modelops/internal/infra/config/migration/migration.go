// Package migration takes over what the Python suite's configuration says: its
// modelops.yaml, schema 2, and its older infrastructure.yaml, schema 1.
//
// Every value of the file is in the report, with what became of it. What that suite
// itself ignored is ignored here too, and said so.
package migration

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

// The outcomes of a key.
const (
	Taken   = "taken"
	Renamed = "renamed"
	Ignored = "ignored"
)

// Entry says what became of one key.
type Entry struct {
	Key     string `json:"key"`
	Outcome string `json:"outcome"`
	To      string `json:"to,omitempty"`  // the new key
	Why     string `json:"why,omitempty"` // it was ignored
}

// Result is what was taken over.
type Result struct {
	Config *config.Config // may lack what the old file lacked
	Schema int            // of the old file: 1 or 2
	Report []Entry        // in the order of the file

	written map[string]string // values as they were, where names were derived from them
}

// Read reads a file of the Python suite. The error is an envelope with
// [contracts.CodeInvalidConfig]. file only names the document in messages.
func Read(file string, data []byte) (*Result, error) {
	invalid := func(problems ...contracts.Problem) error {
		return contracts.DocumentError(contracts.CodeInvalidConfig, contracts.StageProvision, "configuration", file, problems)
	}
	document, problems := contracts.ParseYAML(data)
	if len(problems) > 0 {
		return nil, invalid(problems...)
	}
	m := &migration{Result: Result{Config: config.Default(), written: map[string]string{}}}
	switch version, field := version(document); {
	case field == "schema_version" && version == 2:
		m.Schema, m.rules = 2, unifiedRules()
	case field == "schemaVersion" && version == 1:
		m.Schema, m.rules = 1, legacyRules()
	case field == "schema_version" && version == config.Schema:
		return nil, invalid(contracts.Problem{Field: field, Message: fmt.Sprintf("is %d: it is in the present form already", version), Hint: "there is nothing to migrate"})
	default:
		return nil, invalid(contracts.Problem{Message: "is no configuration of the Python suite", Hint: "its modelops.yaml has schema_version: 2, its infrastructure.yaml schemaVersion: 1"})
	}
	m.Config.Settings.Provider = config.Azure
	m.walk("", document)
	return &m.Result, nil
}

func version(document contracts.Value) (version int64, field string) {
	for _, member := range document.Members() {
		if member.Key == "schema_version" || member.Key == "schemaVersion" {
			version, _ = member.Value.Int64()
			return version, member.Key
		}
	}
	return 0, ""
}

// rule says what becomes of a key: it is taken to a new key, or ignored with a reason.
type rule struct {
	key string // or the beginning of keys, with a dot at its end
	to  string // the new key
	why string
}

// migration is one file on its way.
type migration struct {
	Result
	rules []rule
}

// walk goes through every value of the document.
func (m *migration) walk(path string, v contracts.Value) {
	switch {
	case v.Kind() == contracts.KindMap && len(v.Members()) > 0:
		for _, member := range v.Members() {
			next := contracts.FieldKey(member.Key)
			if path != "" {
				next = path + "." + next
			}
			m.walk(next, member.Value)
		}
	case v.Kind() == contracts.KindList && len(v.Items()) > 0:
		for i, item := range v.Items() {
			m.walk(path+"."+strconv.Itoa(i), item)
		}
	case v.Kind() == contracts.KindNull: // says nothing
	default:
		m.Report = append(m.Report, m.take(path, v))
	}
}

func (m *migration) take(path string, v contracts.Value) Entry {
	entry := Entry{Key: path, Outcome: Ignored}
	for _, rule := range m.rules {
		whole, within := strings.CutSuffix(rule.key, ".")
		if path != rule.key && !(within && (path == whole || strings.HasPrefix(path, rule.key))) {
			continue
		}
		if rule.to == "" {
			entry.Why = rule.why
			return entry
		}
		if entry.Why = m.set(rule.to, v); entry.Why == "" {
			entry.Outcome, entry.To = Renamed, rule.to
			if rule.to == path {
				entry.Outcome, entry.To = Taken, ""
			}
		}
		return entry
	}
	entry.Why = "the Python suite has no such key either, and ignored it"
	return entry
}

// set puts a value under its new key, and answers why it cannot be.
func (m *migration) set(to string, v contracts.Value) (why string) {
	if to == "schema_version" {
		return ""
	}
	m.written[to] = v.Text()
	switch { // what that suite, or Azure, did to a value
	case v.Kind() != contracts.KindString:
	case to == "registry.name":
		v = contracts.StringValue(alphanumeric(v.Text()))
	case to == "azure.location":
		v = contracts.StringValue(strings.ToLower(strings.ReplaceAll(v.Text(), " ", "")))
	}
	for _, key := range config.Keys() {
		if key.Path != to {
			continue
		}
		if problem := key.Set(m.Config, v); problem != nil {
			return "it " + problem.Message + "; " + problem.Hint
		}
		return ""
	}
	return "there is no key " + to // a fault of the rules, which their test finds
}

const (
	otherForm  = "it is written in another form: docs/configuration.md"
	otherState = "the state is kept apart from the Python suite's; pulumi.backend_url says where"
	byName     = "the Python suite ignored it, and derived the name; azure.resource_group sets one"
)

func unifiedRules() []rule {
	return []rule{
		{key: "schema_version", to: "schema_version"},
		{key: "generated", why: "it says when the file was written"},
		{key: "settings.environment", to: "settings.environment"},
		{key: "settings.provider", to: "settings.provider"},
		{key: "settings.username", to: "settings.username"},
		{key: "pulumi.backend_url", why: otherState},
		{key: "pulumi.organization", why: "the Python suite ignored it, and the state here has none"},
		{key: "cluster.provider", why: "settings.provider says it"},
		{key: "cluster.subscription_id", to: "azure.subscription_id"},
		{key: "cluster.location", to: "azure.location"},
		{key: "cluster.resource_group", why: byName},
		{key: "cluster.aks.", why: otherForm},
		{key: "storage.account_tier", why: "the Python suite ignored it; storage.sku says how many copies there are"},
		{key: "registry.sku", to: "registry.sku"},
		{key: "workspace.", why: otherForm},
	}
}

func legacyRules() []rule {
	return []rule{
		{key: "schemaVersion", to: "schema_version"},
		{key: "registry.provider", why: "settings.provider says it; a registry that is not Azure's needs no mops infra: write an environment file, mops env add"},
		{key: "registry.registry_name", to: "registry.name"},
		{key: "registry.name", why: "the Python suite ignored it; its key was registry_name"},
		{key: "registry.sku", to: "registry.sku"},
		{key: "registry.per_user_registry", why: "settings.username says it"},
		{key: "registry.use_existing_rg", why: "azure.existing_resource_group says it"},
		{key: "registry.bundle_repo", why: "a project's name is its repository"},
		{key: "registry.requires_auth", why: "a registry of Azure's always does"},
		{key: "registry.org", why: "a registry of Azure's has none"},
		{key: "cluster.provider", why: "settings.provider says it"},
		{key: "cluster.subscription_id", to: "azure.subscription_id"},
		{key: "cluster.location", to: "azure.location"},
		{key: "cluster.username", to: "settings.username"},
		{key: "cluster.resource_group", why: byName},
		{key: "cluster.", why: otherForm},
		{key: "storage.account_name", to: "storage.name"},
		{key: "storage.sku", to: "storage.sku"},
		{key: "storage.username", why: "settings.username says it"},
		{key: "storage.location", why: "azure.location says it"},
		{key: "storage.resource_group", why: byName},
		{key: "storage.version", why: "schema_version says it"},
		{key: "storage.provider", why: "settings.provider says it"},
		{key: "workspace.", why: otherForm},
		{key: "continueOnError", why: "what does not need a part that failed is always made"},
		{key: "dependsOn.", why: "what needs what is known"},
	}
}
