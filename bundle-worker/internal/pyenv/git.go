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
)

// gitUnstated is how Git behaves unless the worker says otherwise: it asks nobody, for nobody
// is there, and gives up on a server that sends less than a KB/s for a minute.
var gitUnstated = [][2]string{{"GIT_TERMINAL_PROMPT", "0"}, {"GIT_HTTP_LOW_SPEED_LIMIT", "1000"}, {"GIT_HTTP_LOW_SPEED_TIME", "60"}}

// gitHubHelper answers Git's question for a login with the token of the environment: it is
// in no address, which installers write down.
const gitHubHelper = `!f() { test "$1" = get && printf 'username=x-access-token\npassword=%s\n' "$` + gitHubToken + `"; }; f`

// withGit has Git behave, and log in to GitHub with the token, where there is one, after
// whatever else it is told to do.
func withGit(environ []string) []string {
	for _, setting := range gitUnstated {
		if _, stated := lookup(environ, setting[0]); !stated {
			environ = append(environ, setting[0]+"="+setting[1])
		}
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
