//go:build unix

package pyenv

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const redacted = "***"

// login is the user and password of an address.
var login = regexp.MustCompile(`://[^/\s@'"]+@`)

// redact takes out of an installer's words what opens a private index or repository.
func redact(words string, environ []string) string {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		upper := strings.ToUpper(name)
		if !installers(name) {
			continue
		}
		if strings.Contains(upper, "PASSWORD") || strings.Contains(upper, "TOKEN") || strings.HasPrefix(upper, "GIT_CONFIG_VALUE") {
			words = without(words, value)
		}
		for _, word := range strings.Fields(value) {
			address, err := url.Parse(word)
			if err != nil || address.User == nil {
				continue
			}
			password, _ := address.User.Password()
			words = without(without(words, password), url.QueryEscape(password))
			if password == "" {
				words = without(words, address.User.Username()) // a token
			}
		}
	}
	return login.ReplaceAllString(words, "://"+redacted+"@")
}

// shortest is what a secret has at least: replacing less would hide ordinary words.
const shortest = 6

func without(words, secret string) string {
	if len(secret) < shortest {
		return words
	}
	return strings.ReplaceAll(words, secret, redacted)
}

// forgetLogins takes logins out of the notes that installers leave of where a package came
// from: tasks read them, and other nodes get them.
func forgetLogins(dir string) error {
	return filepath.WalkDir(filepath.Join(dir, "lib"), func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "direct_url.json" || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(p, login.ReplaceAll(data, []byte("://"+redacted+"@")), 0o600)
	})
}
