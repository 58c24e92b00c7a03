package migration

import (
	"crypto/md5"
	"encoding/hex"
	"strings"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra/name"
)

// Former are the names that the Python suite derived: to find, and to adopt, what it made.
type Former struct {
	name.Names
	RandomRegistry bool `json:"random_registry,omitempty"` // it had another name after every run
}

// Former is what the Python suite called what it made of the file: its rule, with its
// faults, for the environment in Config where the file has none.
func (r *Result) Former() Former {
	env, user, registry := r.written["settings.environment"], r.written["settings.username"], r.written["registry.name"]
	if env == "" {
		env = r.Config.Settings.Environment
	}
	plain := alphanumeric(user)
	plain = plain[:min(20, len(plain))]
	personal := name.Personal(env)

	f := Former{}
	f.ResourceGroup = "modelops-" + env + "-rg"
	if user != "" {
		f.ResourceGroup += "-" + plain
	}
	switch {
	case registry != "":
		f.Registry = alphanumeric(registry)
	case personal && plain != "":
		f.Registry = "modelops" + alphanumeric(env) + "acr" + plain
	default:
		f.RandomRegistry = true
	}
	if f.StorageAccount = r.written["storage.name"]; f.StorageAccount == "" {
		f.StorageAccount = formerAccount(env, user, plain, personal)
	}
	return f
}

func formerAccount(env, user, plain string, personal bool) string {
	letters := []rune(env)
	short := string(letters[:min(3, len(letters))])
	if env == "prod" {
		short = "prd"
	}
	whose, hashed := "sto", user
	if personal && user != "" {
		whose = plain[:min(3, len(plain))]
	}
	if hashed == "" {
		hashed = "default"
	}
	sum := md5.Sum([]byte(env + "-" + hashed))
	account := "modelops" + short + whose + hex.EncodeToString(sum[:2])
	return strings.ToLower(account[:min(24, len(account))])
}

// alphanumeric is the ASCII letters and digits of s, in lower case.
func alphanumeric(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		}
	}
	return b.String()
}
