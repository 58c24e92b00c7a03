package environment

import (
	"path/filepath"
	"runtime"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Home is the suite's own directory: MODELOPS_HOME, or .modelops in the user's home.
// It need not exist.
func Home(getenv func(string) string) (string, error) {
	if home := getenv("MODELOPS_HOME"); home != "" {
		if !filepath.IsAbs(home) {
			return "", &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageEnvironment,
				Message: "MODELOPS_HOME is " + contracts.Quote(home) + ", not an absolute path",
				Hint:    "give the whole path of a directory"}
		}
		return filepath.Clean(home), nil
	}
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "USERPROFILE"
	}
	user := getenv(variable)
	if !filepath.IsAbs(user) {
		return "", &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageEnvironment,
			Message: "there is no home directory: " + variable + " is " + contracts.Quote(user),
			Hint:    "set MODELOPS_HOME to a directory of your own"}
	}
	return filepath.Join(user, ".modelops"), nil
}
