package name

import (
	"regexp"
	"strconv"
	"strings"
)

// Limit is what Azure allows a name to be.
type Limit struct {
	Min, Max int
	Pattern  string // of the whole name, for Go, JSON Schema and people's editors
	Words    string // the pattern in words
}

// The limits, by learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules.
// A registry's name may have capitals there, and is its host in lower case: none here.

// ResourceGroup is the limit of a resource group's name.
func ResourceGroup() Limit {
	return Limit{1, 90, `^[A-Za-z0-9_().-]*[A-Za-z0-9_()-]$`, "letters, digits, '_', '-', '.' and parentheses, and does not end in '.'"}
}

// Registry is the limit of a container registry's name.
func Registry() Limit { return Limit{5, 50, `^[a-z0-9]+$`, "lower-case letters and digits"} }

// StorageAccount is the limit of a storage account's name.
func StorageAccount() Limit { return Limit{3, 24, `^[a-z0-9]+$`, "lower-case letters and digits"} }

// Container is the limit of a blob container's name.
func Container() Limit {
	return Limit{3, 63, `^[a-z0-9](-?[a-z0-9])*$`, "lower-case letters, digits and single '-' between them"}
}

// Cluster is the limit of a Kubernetes cluster's name. Its DNS name begins with it, so
// that it has 54 characters at most and no '_'.
func Cluster() Limit {
	return Limit{1, 54, `^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`, "letters, digits and '-', with a letter or a digit at both ends"}
}

// NodePool is the limit of the name of a cluster's pool of nodes that run Linux.
func NodePool() Limit {
	return Limit{1, 12, `^[a-z][a-z0-9]*$`, "lower-case letters and digits, a letter first"}
}

// Problem says what is wrong with a name, as in "has 2 characters", and what is right;
// "" when nothing is.
func (l Limit) Problem(name string) (problem, hint string) {
	hint = "it is " + strconv.Itoa(l.Min) + " to " + strconv.Itoa(l.Max) + " characters long and of " + l.Words
	switch {
	case len(name) < l.Min || len(name) > l.Max:
		problem = "has " + strconv.Itoa(len(name)) + " characters"
	case !regexp.MustCompile(l.Pattern).MatchString(name):
		problem = "is not a name that Azure allows"
		if strings.ToLower(name) != name && regexp.MustCompile(l.Pattern).MatchString(strings.ToLower(name)) {
			hint = "write " + strings.ToLower(name)
		}
	default:
		return "", ""
	}
	return problem, hint
}

// check is nil, or an error for the first of the names that Azure would refuse.
func (n Names) check() error {
	for _, part := range []struct {
		what, name string
		limit      Limit
	}{
		{"resource group", n.ResourceGroup, ResourceGroup()},
		{"registry", n.Registry, Registry()},
		{"storage account", n.StorageAccount, StorageAccount()},
		{"cluster", n.Cluster, Cluster()},
	} {
		if problem, hint := part.limit.Problem(part.name); part.name != "" && problem != "" {
			return invalid("the "+part.what+"'s name "+part.name+" "+problem, hint)
		}
	}
	return nil
}
