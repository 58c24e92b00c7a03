//go:build unix

package pyenv

import (
	"slices"
	"strconv"
	"strings"
)

const (
	gitHubToken = "GITHUB_TOKEN"
	gitConfigs  = "GIT_CONFIG_COUNT"
	gitPrompt   = "GIT_TERMINAL_PROMPT"
)

// gitHubHelper answers Git's question for a login with the token of the environment: it is
// in no address, which installers write down.
const gitHubHelper = `!f() { test "$1" = get && printf 'username=x-access-token\npassword=%s\n' "$` + gitHubToken + `"; }; f`

// withGit has Git log in to GitHub with the token, where there is one, after whatever else
// it is told to do; and ask nobody, for nobody is there.
func withGit(environ []string) []string {
	if _, stated := lookup(environ, gitPrompt); !stated {
		environ = append(environ, gitPrompt+"=0")
	}
	if token, _ := lookup(environ, gitHubToken); token == "" {
		return environ
	}
	stated, _ := lookup(environ, gitConfigs)
	n, err := strconv.Atoi(stated)
	if err != nil && stated != "" {
		return environ // Git says what is wrong with it
	}
	number := strconv.Itoa(n)
	environ = slices.DeleteFunc(environ, func(variable string) bool { return strings.HasPrefix(variable, gitConfigs+"=") })
	return append(environ, gitConfigs+"="+strconv.Itoa(n+1),
		"GIT_CONFIG_KEY_"+number+"=credential.https://github.com.helper", "GIT_CONFIG_VALUE_"+number+"="+gitHubHelper)
}

func lookup(environ []string, name string) (value string, stated bool) {
	for _, variable := range environ {
		if v, ok := strings.CutPrefix(variable, name+"="); ok {
			value, stated = v, true
		}
	}
	return value, stated
}
