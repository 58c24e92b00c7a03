package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
	"sigs.k8s.io/yaml"
)

// configSchema is the version of modelops.yaml that this suite writes and reads. The
// Python suite's is 2 and is left to it.
const configSchema = 3

// Config is the part of modelops.yaml that does not depend on a provider.
type Config struct {
	SchemaVersion int      `json:"schema_version"`
	Settings      Settings `json:"settings"`
}

// Settings are the user's own.
type Settings struct {
	Environment string `json:"environment,omitempty"` // the default one
	Provider    string `json:"provider,omitempty"`    // where "mops infra up" makes it: local or azure
}

// ConfigPath is where modelops.yaml lies.
func ConfigPath(home string) string { return filepath.Join(home, "modelops.yaml") }

// LoadConfig reads modelops.yaml; nil without an error when there is none. Of a file of
// another schema only SchemaVersion is read.
func LoadConfig(home string) (*Config, error) {
	if err := CheckDirectory(home); err != nil {
		return nil, err
	}
	path := ConfigPath(home)
	data, _, err := opener{}.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	invalid := func(problem, hint string) error {
		return &contracts.Error{Code: contracts.CodeInvalidEnvironment, Stage: contracts.StageEnvironment,
			Message: "configuration " + contracts.Quote(path) + " " + problem, Hint: hint}
	}
	if len(data) == maxFile {
		return nil, invalid("is larger than 64 KiB", "")
	}
	var top struct {
		SchemaVersion int `json:"schema_version"`
		Settings      any `json:"settings"`
	}
	if err := yaml.Unmarshal(data, &top); err != nil {
		return nil, invalid("is not YAML of the form that is expected: "+contracts.Lines(err.Error()), "")
	}
	if top.SchemaVersion != configSchema {
		if top.SchemaVersion == 0 {
			return nil, invalid("has no schema_version", fmt.Sprintf("the first line is schema_version: %d", configSchema))
		}
		return &Config{SchemaVersion: top.SchemaVersion}, nil
	}
	settings, err := yaml.Marshal(top.Settings)
	if err != nil {
		return nil, invalid("has settings that cannot be read: "+contracts.Lines(err.Error()), "")
	}
	config := &Config{SchemaVersion: top.SchemaVersion}
	if err := yaml.UnmarshalStrict(settings, &config.Settings); err != nil {
		return nil, invalid("has settings that are not understood: "+contracts.Lines(err.Error()), "the settings are environment and provider")
	}
	if name := config.Settings.Environment; name != "" {
		config.Settings.Environment = contracts.NormalizeEnvironmentName(name)
		if err := contracts.ValidateEnvironmentName(config.Settings.Environment); err != nil {
			return nil, invalid("has settings.environment "+contracts.Quote(name), contracts.AsError(err).Hint)
		}
	}
	return config, nil
}

// OtherSchema says whether the file is another suite's, or of another version, and so
// has no say here.
func (c *Config) OtherSchema() bool { return c != nil && c.SchemaVersion != configSchema }
