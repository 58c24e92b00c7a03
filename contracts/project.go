package contracts

import (
	"slices"
	"strings"
)

// ProjectConfig is .modelops-bundle/config.yaml. What decides where a bundle lies is
// Project and the environment; RegistryRef and the storage's provider and container
// are a record of what they were.
type ProjectConfig struct {
	Project     string `json:"project,omitempty"`      // the repository; empty in a file of the Python suite
	RegistryRef string `json:"registry_ref,omitempty"` // <login_server>/<project>
	DefaultTag  string `json:"default_tag"`            // "latest" unless the file says otherwise
	Format      string `json:"format,omitempty"`       // of the bundles that are pushed: "packed" (the default) or "files"

	Storage       ProjectStorage `json:"storage"`
	CacheDir      string         `json:"cache_dir,omitempty"`       // the Python suite's
	CacheLinkMode string         `json:"cache_link_mode,omitempty"` // the Python suite's: auto reflink hardlink copy

	unknown        []Member
	unknownStorage []Member
}

// ProjectStorage says which files of a bundle lie in the storage instead of the
// registry.
type ProjectStorage struct {
	Provider          string   `json:"provider"`
	Container         string   `json:"container"`
	Prefix            string   `json:"prefix"`
	Mode              string   `json:"mode"`                // "oci-only" (the default), "auto" or "blob-only"
	ThresholdBytes    int64    `json:"threshold_bytes"`     // with "auto", files of this size and more lie in the storage
	ForceOCIPatterns  []string `json:"force_oci_patterns"`  // win over ForceBlobPatterns
	ForceBlobPatterns []string `json:"force_blob_patterns"` // fnmatch on the path; * crosses /
}

// DefaultThreshold is the size in bytes from which [ProjectStorage] mode "auto" puts
// a file into the storage.
const DefaultThreshold = 50 << 20

// ParseProjectConfig reads a project's configuration. The error is an [Error] of
// [CodeInvalidProject] with every problem; the problems returned beside it are
// warnings: unknown keys, which [ProjectConfig.Marshal] keeps. file only names the
// document in messages.
func ParseProjectConfig(file string, data []byte) (*ProjectConfig, []Problem, error) {
	const what = "project configuration"
	doc, faults := parseYAML(data)
	if len(faults) > 0 {
		return nil, nil, documentError(CodeInvalidProject, StageProject, what, file, faults)
	}
	problems := &problemList{}
	config, warnings := readProject(readMapping(doc, "", problems))
	config.check(problems)
	if err := problems.err(CodeInvalidProject, StageProject, what, file); err != nil {
		return nil, nil, err
	}
	return config, warnings, nil
}

func readProject(m *mapping) (*ProjectConfig, []Problem) {
	c := &ProjectConfig{
		Project:     m.text("project"),
		RegistryRef: m.text("registry_ref"),
		DefaultTag:  m.text("default_tag"),
		Format:      m.text("format"),
	}
	c.CacheDir, _ = m.anyText("cache_dir")
	c.CacheLinkMode = m.text("cache_link_mode")
	var warnings []Problem
	c.Storage = ProjectStorage{Mode: "oci-only", ThresholdBytes: DefaultThreshold}
	if storage := m.sub("storage"); storage != nil {
		c.Storage.read(storage)
		c.unknownStorage = storage.unknown()
		warnings = storage.warnings(c.unknownStorage, "it is kept")
	}
	if c.DefaultTag == "" {
		c.DefaultTag = "latest"
	}
	c.unknown = m.unknown()
	warnings = append(warnings, m.warnings(c.unknown, "it is kept")...)
	for i := range warnings {
		if warnings[i].Field == "environment" { // where older files of the Python suite had the pin
			warnings[i].Hint = "the environment's name is in .modelops-bundle/env: modelops-bundle env switch"
		}
	}
	return c, warnings
}

func (s *ProjectStorage) read(m *mapping) {
	s.Provider, _ = m.anyText("provider") // the Python suite writes '' for none
	s.Container, _ = m.anyText("container")
	s.Prefix, _ = m.anyText("prefix")
	if mode := m.text("mode"); mode != "" {
		s.Mode = mode
	}
	s.ThresholdBytes = m.integer("threshold_bytes", 0, DefaultThreshold)
	s.ForceOCIPatterns = m.texts("force_oci_patterns")
	s.ForceBlobPatterns = m.texts("force_blob_patterns")
}

func (c *ProjectConfig) check(problems *problemList) {
	if c.Project == "" && c.RegistryRef == "" && !problems.has("project") {
		problems.add("project", "is missing", "give the project's name: modelops-bundle init . --name NAME")
	}
	if c.Project != "" {
		if err := ValidateRepository(c.Project); err != nil {
			e := AsError(err)
			problems.add("project", "is "+Quote(c.Project)+", not a repository's name", e.Hint)
		}
	}
	if c.DefaultTag != "" && ValidateTag(c.DefaultTag) != nil {
		problems.add("default_tag", "is "+Quote(c.DefaultTag)+", not a tag", "a tag is 1 to 128 letters, digits, '.', '_' or '-'")
	}
	word := func(field, value string, words ...string) {
		if value != "" && !slices.Contains(words, value) {
			problems.add(field, "is "+Quote(value), "it is one of "+strings.Join(words, ", "))
		}
	}
	word("format", c.Format, "files", "packed")
	word("storage.mode", c.Storage.Mode, "auto", "blob-only", "oci-only")
	word("storage.provider", c.Storage.Provider, "azure", "azurite", "fs", "gcs", "minio", "s3")
	word("cache_link_mode", c.CacheLinkMode, "auto", "copy", "hardlink", "reflink")
	if c.Storage.ThresholdBytes < 0 {
		problems.add("storage.threshold_bytes", "is negative", "write a number of bytes")
	}
}

// Marshal writes the file so that the Python suite reads it too. What
// [ParseProjectConfig] would refuse is refused.
func (c *ProjectConfig) Marshal() ([]byte, error) {
	problems := &problemList{}
	c.check(problems)
	if err := problems.err(CodeInvalidProject, StageProject, "project configuration", ""); err != nil {
		return nil, err
	}
	out := appendYAML(nil, c.document())
	back, _, err := ParseProjectConfig("", out)
	if err != nil {
		return nil, err
	}
	if !back.Equal(c) {
		problems.add("", "has a value that is not valid UTF-8", "write text")
		return nil, problems.err(CodeInvalidProject, StageProject, "project configuration", "")
	}
	return out, nil
}

func (c *ProjectConfig) document() Value {
	top := fields{}
	top.text("project", c.Project)
	top.text("registry_ref", c.RegistryRef)
	tag := c.DefaultTag
	if tag == "" {
		tag = "latest"
	}
	top.text("default_tag", tag)
	top.text("format", c.Format)
	top.members = append(top.members, Member{"storage", c.storageDocument()})
	top.text("cache_dir", c.CacheDir)
	top.text("cache_link_mode", c.CacheLinkMode)
	return top.with(c.unknown)
}

func (c *ProjectConfig) storageDocument() Value {
	s := c.Storage
	mode := s.Mode
	if mode == "" {
		mode = "oci-only"
	}
	storage := fields{members: []Member{
		{"provider", StringValue(s.Provider)},
		{"container", StringValue(s.Container)},
		{"prefix", StringValue(s.Prefix)},
		{"mode", StringValue(mode)},
		{"threshold_bytes", IntValue(s.ThresholdBytes)},
		{"force_oci_patterns", stringsValue(s.ForceOCIPatterns)},
		{"force_blob_patterns", stringsValue(s.ForceBlobPatterns)},
	}}
	return storage.with(c.unknownStorage)
}

func stringsValue(list []string) Value {
	items := make([]Value, len(list))
	for i, s := range list {
		items[i] = StringValue(s)
	}
	return listValue(items)
}

// Equal says whether both files say the same, unknown keys included.
func (c *ProjectConfig) Equal(other *ProjectConfig) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.document().Equal(other.document())
}
