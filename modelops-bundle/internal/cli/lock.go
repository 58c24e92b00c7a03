package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

// checkLock warns of dependencies that are not locked, with the command that locks them:
// the same digest could otherwise run on other packages tomorrow. --require-lock makes it
// an error.
func checkLock(c *cli.Context, root *os.Root, sources []bundle.Source) error {
	file, hint := unlocked(root, sources)
	if file == "" {
		return nil
	}
	message := file + " names dependencies that are not locked: the same bundle may run on other packages tomorrow"
	if c.Bool("require-lock") {
		return &contracts.Error{Code: contracts.CodeInvalidBundle, Stage: contracts.StagePack, Message: message, Hint: hint}
	}
	command.Warn(c, "%s (%s)", message, hint)
	return nil
}

// unlocked is the file whose dependencies are not locked, and how to lock them.
func unlocked(root *os.Root, sources []bundle.Source) (file, hint string) {
	has := func(name string) bool {
		return slices.ContainsFunc(sources, func(s bundle.Source) bool { return s.Path == name })
	}
	if has("uv.lock") {
		return "", ""
	}
	if has("requirements.txt") {
		text, err := root.ReadFile("requirements.txt")
		if err != nil || !hasRequirement(string(text)) || strings.Contains(string(text), "--hash=") {
			return "", ""
		}
		return "requirements.txt", "run: uv pip compile --generate-hashes requirements.txt -o requirements.txt"
	}
	if !has("pyproject.toml") {
		return "", ""
	}
	text, err := root.ReadFile("pyproject.toml")
	if err != nil {
		return "", ""
	}
	var doc struct {
		Project struct {
			Dependencies []string `toml:"dependencies"`
		} `toml:"project"`
	}
	if toml.Unmarshal(text, &doc) != nil || len(doc.Project.Dependencies) == 0 {
		return "", ""
	}
	return "pyproject.toml", "run: uv lock"
}

func hasRequirement(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}
