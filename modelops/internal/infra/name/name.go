// Package name says what the parts of an environment are called in Azure, and keeps to
// what it once said.
//
// A name is a pure function of the environment's name, the user's and the subscription
// ([Derive]). Registries and storage accounts share one name space with every other
// customer of Azure, resource groups one subscription:
//
//   - A personal environment, dev or staging with a username, has the names that the
//     Python suite gave: modelopsdevacrvsb for dev and vsb.
//   - Any other one has the first [hashLength] digits of a hash of environment, user
//     and subscription in the names of its registry and storage account, where that
//     suite had a constant of all its installations, or a new random word on every run.
//   - What that suite took from the username as it was typed is taken from [Username]:
//     Alice.Smith and alice.smith are one user. A username that is longer than 20
//     characters ends in a hash of all of it.
//
// Names are recorded before anything is made of them ([Ledger]), so that neither a later
// rule nor a change of the configuration renames what holds data.
package name

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Input is what names are derived from.
type Input struct {
	Environment    string // a valid name
	Username       string // as configured; empty for an environment that a team shares
	SubscriptionID string
}

// Names are what the parts of an environment are called.
type Names struct {
	ResourceGroup  string `json:"resource_group,omitempty"`
	Registry       string `json:"registry,omitempty"`
	StorageAccount string `json:"storage_account,omitempty"`
	Cluster        string `json:"cluster,omitempty"`
}

const (
	prefix     = "modelops"
	maxUser    = 20
	hashLength = 10 // of base 32: 50 bits
)

// Personal says whether the environment is its user's own when it has one.
func Personal(environment string) bool {
	return slices.Contains([]string{"dev", "staging"}, environment)
}

// Derive is the rule. The error is an envelope with [contracts.CodeInvalidName] that
// says which input cannot be used.
func Derive(in Input) (Names, error) {
	if err := contracts.ValidateEnvironmentName(in.Environment); err != nil {
		return Names{}, err
	}
	user := ""
	if in.Username != "" {
		var err error
		if user, err = Username(in.Username); err != nil {
			return Names{}, err
		}
	}
	group := prefix + "-" + in.Environment + "-rg"
	if user != "" {
		group += "-" + user
	} else if strings.HasSuffix(in.Environment, "-"+reservedUser) {
		return Names{}, invalid("environment "+in.Environment+" ends in -"+reservedUser+" and has no user: its resource group would be called as another one's",
			"set settings.username, or choose another name")
	}
	letters := strings.ReplaceAll(in.Environment, "-", "")
	short := letters[:min(3, len(letters))]
	if in.Environment == "prod" {
		short = "prd"
	}
	if user != "" && Personal(in.Environment) {
		// No secret: the digits tell users of one beginning apart, as they always did.
		sum := md5.Sum([]byte(in.Environment + "-" + user))
		return Names{
			ResourceGroup:  group,
			Registry:       prefix + letters + "acr" + user,
			StorageAccount: prefix + short + user[:min(3, len(user))] + hex.EncodeToString(sum[:2]),
			Cluster:        prefix + "-" + in.Environment + "-aks-" + hex.EncodeToString(sum[:2]),
		}, nil
	}
	hash := digits(strings.Join([]string{strings.ToLower(in.SubscriptionID), in.Environment, user}, "\x00"), hashLength)
	return Names{
		ResourceGroup:  group,
		Registry:       prefix + letters[:min(maxUser, len(letters))] + "acr" + hash,
		StorageAccount: prefix + short + "sto" + hash,
		Cluster:        prefix + "-" + in.Environment + "-aks", // its own name space is the resource group
	}, nil
}

// reservedUser is how the resource group of an environment without a user ends.
const reservedUser = "rg"

// Username is a username as names have it: its letters and digits in lower case, 1 to
// 20 of them. The error is an envelope with [contracts.CodeInvalidName].
func Username(username string) (string, error) {
	const hint = "choose one of ASCII letters and digits for the names in Azure: settings.username, or --username"
	var user []byte
	for _, r := range username {
		switch {
		case r >= 0x80:
			return "", invalid("username "+contracts.Quote(username)+" has a character that names in Azure cannot have", hint)
		case r >= 'A' && r <= 'Z':
			user = append(user, byte(r)-'A'+'a')
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			user = append(user, byte(r))
		}
	}
	switch {
	case len(user) == 0:
		return "", invalid("username "+contracts.Quote(username)+" has neither a letter nor a digit", hint)
	case string(user) == reservedUser:
		return "", invalid("username "+contracts.Quote(username)+" would read as no user in a resource group's name", "choose a longer one: settings.username, or --username")
	case len(user) > maxUser:
		const distinct = 5 // characters of a hash
		return string(user[:maxUser-distinct]) + digits(string(user), distinct), nil
	}
	return string(user), nil
}

// digits are the first n digits of a hash, in lower-case letters and the digits 2 to 7.
func digits(of string, n int) string {
	sum := sha256.Sum256([]byte(of))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:n]
}

func invalid(message, hint string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeInvalidName, Stage: contracts.StageProvision, Message: message, Hint: hint}
}
