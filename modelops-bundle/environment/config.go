package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/contracts"
)

// ConfigSchema is the version of modelops.yaml that this suite writes and reads. The
// Python suite's is 2 and is left to it.
const ConfigSchema = 3

// Config is the part of modelops.yaml that finding an environment needs. The rest is read,
// and judged, by who makes infrastructure from it: a fault there breaks nothing here.
type Config struct {
	SchemaVersion int
	Environment   string // the default one; empty for none
}

// ConfigPath is where modelops.yaml lies.
func ConfigPath(home string) string { return filepath.Join(home, "modelops.yaml") }

// ReadConfig is modelops.yaml as it is; nil without an error when there is none.
func ReadConfig(home string) ([]byte, error) {
	if err := CheckDirectory(home); err != nil {
		return nil, err
	}
	data, _, err := opener{}.read(ConfigPath(home))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && data == nil {
		data = []byte{}
	}
	return data, err
}

// LoadConfig reads modelops.yaml; nil without an error when there is none. Of a file of
// another schema only SchemaVersion is read, of one of this schema only the section
// settings, strictly: what is misspelled there could have named another environment.
func LoadConfig(home string) (*Config, error) {
	data, err := ReadConfig(home)
	if err != nil || data == nil {
		return nil, err
	}
	invalid := func(problem contracts.Problem) error {
		return contracts.DocumentError(contracts.CodeInvalidConfig, contracts.StageEnvironment, "configuration", ConfigPath(home), []contracts.Problem{problem})
	}
	document, problems := contracts.ParseYAML(data)
	if len(problems) > 0 {
		return nil, invalid(problems[0])
	}
	config, settings := &Config{}, contracts.Value{}
	for _, member := range document.Members() {
		switch member.Key {
		case "schema_version":
			version, isInt := member.Value.Int64()
			if !isInt {
				return nil, invalid(contracts.Problem{Field: "schema_version", Message: "is " + member.Value.Kind().String() + ", not an integer", Hint: fmt.Sprintf("write schema_version: %d", ConfigSchema)})
			}
			config.SchemaVersion = int(version)
		case "settings":
			settings = member.Value
		}
	}
	if config.SchemaVersion == 0 {
		return nil, invalid(contracts.Problem{Field: "schema_version", Message: "is missing", Hint: fmt.Sprintf("the first line is schema_version: %d", ConfigSchema)})
	}
	if config.OtherSchema() {
		return config, nil
	}
	if problem := config.read(settings); problem != nil {
		return nil, invalid(*problem)
	}
	return config, nil
}

// settingsKeys are the keys of the section settings.
func settingsKeys() []string { return []string{"environment", "provider", "username"} }

// read takes the default environment from the section settings.
func (c *Config) read(settings contracts.Value) *contracts.Problem {
	if kind := settings.Kind(); kind != contracts.KindMap && kind != contracts.KindNull {
		return &contracts.Problem{Field: "settings", Message: "is " + kind.String() + ", not a mapping", Hint: "write it as key: value"}
	}
	for _, member := range settings.Members() {
		field := "settings." + contracts.FieldKey(member.Key)
		switch {
		case member.Key == "provider" || member.Key == "username":
		case member.Key != "environment":
			hint := "the settings are environment, provider and username"
			if nearest := contracts.Nearest(member.Key, settingsKeys()); nearest != "" {
				hint = "did you mean " + nearest + "?"
			}
			return &contracts.Problem{Field: field, Message: "is not a key of the configuration", Hint: hint}
		case member.Value.Kind() == contracts.KindNull:
		case member.Value.Kind() != contracts.KindString:
			return &contracts.Problem{Field: field, Message: "is " + member.Value.Kind().String() + ", not a string", Hint: "put it in quotes"}
		default:
			c.Environment = contracts.NormalizeEnvironmentName(member.Value.Text())
			if err := contracts.ValidateEnvironmentName(c.Environment); err != nil {
				return &contracts.Problem{Field: field, Message: "is " + contracts.Quote(member.Value.Text()) + " and is not an environment's name", Hint: contracts.AsError(err).Hint}
			}
		}
	}
	return nil
}

// OtherSchema says whether the file is another suite's, or of another version, and so
// has no say here.
func (c *Config) OtherSchema() bool { return c != nil && c.SchemaVersion != ConfigSchema }
