//go:build unix

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azure/azuretest"
)

// faultPoint is one thing that goes wrong while an environment is made or destroyed.
type faultPoint struct {
	operation, typ string
	how            string // failed, killed, delayed, lost, died, half
}

// String has no slash, which would be a test within a test.
func (p faultPoint) String() string {
	return p.operation + " " + strings.ReplaceAll(p.typ, "/", ".") + " " + p.how
}

// faultPoints are all of them; without MODELOPS_TEST_AZURE=all the two that say most.
func faultPoints() []faultPoint {
	if os.Getenv("MODELOPS_TEST_AZURE") != "all" {
		return []faultPoint{{"create", "containerregistry:Registry", "killed"}, {"delete", "storage:StorageAccount", "failed"}}
	}
	var points []faultPoint
	for _, typ := range identityTypes {
		for _, how := range []string{"failed", "killed", "delayed"} {
			if how == "delayed" && !strings.Contains(typ, "Registry") && !strings.Contains(typ, "Account") {
				continue // what waits for a small thing waits as for a large one
			}
			points = append(points, faultPoint{"create", typ, how})
			if typ != "resources:ResourceGroup" { // never deleted
				points = append(points, faultPoint{"delete", typ, how})
			}
		}
	}
	for _, typ := range []string{"resources:ResourceGroup", "containerregistry:Registry", "storage:StorageAccount", "storage:BlobContainer"} {
		points = append(points, faultPoint{"create", typ, "lost"})
	}
	points = append(points, clusterPoints()...)
	return append(points, faultPoint{"create", "storage:StorageAccount", "died"}, faultPoint{"create", "containerregistry:Registry", "half"},
		faultPoint{"delete", "containerregistry:Registry", "lost"})
}

// clusterPoints are those of what takes longest, of what is made in passing, and of what a
// cluster is removed by.
func clusterPoints() []faultPoint {
	const cluster = "containerservice/v20240501:ManagedCluster"
	return []faultPoint{
		{"create", cluster, "failed"}, {"create", cluster, "killed"}, {"create", cluster, "lost"}, {"create", cluster, "half"},
		{"create", "managedidentity:FederatedIdentityCredential", "killed"}, {"create", "managedidentity:UserAssignedIdentity", "failed"},
		{"delete", cluster, "failed"}, {"delete", cluster, "killed"},
	}
}

// ofCluster says whether the fault is met by an environment that has a cluster only.
func (p faultPoint) ofCluster() bool { return slices.Contains(clusterPoints(), p) }

// TestAzureFaults has every creation and every deletion fail, take long, or be killed:
// the next "up" makes the environment whole, makes nothing twice, and until then the
// environment file is as it was, or true.
func TestAzureFaults(t *testing.T) {
	plugin := buildStandin(t)
	for _, point := range faultPoints() {
		t.Run(point.String(), func(t *testing.T) {
			t.Parallel()
			config, types := azureConfig, azureTypes
			if point.typ == "authorization:RoleAssignment" {
				config, types = azureConfig+"storage: {auth: identity}\n", identityTypes
			}
			down := []string{"infra", "down", "--destroy-registry", "--destroy-storage", "--confirm", "dev"}
			if point.ofCluster() {
				config, types, down = azureConfig+"cluster: {}\n", clusterTypes, []string{"infra", "down", "--confirm", "dev"}
			}
			b := newAzureBench(t, plugin, config)
			args := []string{"infra", "up"}
			if point.operation == "delete" {
				b.mops(0, args...)
				args = down
			}
			before := b.file()
			b.strike(point, args)
			b.truthful(before)
			if point.how == "killed" { // nobody is left to free the lock
				if _, stderr := b.mops(5, "infra", "up"); !strings.Contains(stderr, "mops infra unlock") {
					t.Errorf("the way out is not named:\n%s", stderr)
				}
				b.mops(0, "infra", "unlock")
			}
			b.mops(0, "infra", "up")
			b.whole(types)
			if point.typ != "authorization:RoleAssignment" {
				b.discreet()
			}
		})
	}
}

// strike runs the command into the fault.
func (b *azureBench) strike(point faultPoint, args []string) {
	b.Helper()
	fault := azuretest.Fault{Type: point.typ, Operation: point.operation, Status: 503, Code: "ServiceUnavailable", Message: "The service is unavailable."}
	code := 7
	switch point.how {
	case "failed":
		fault.Do = "fail"
	case "lost":
		fault.Do, code = "lose", 1
	case "half":
		fault.Do = "half"
	case "died":
		fault.Do, fault.After, code = "die", true, 1
	case "killed":
		fault.Do, fault.After = "pause", true
	case "delayed":
		fault.Do = "pause"
	}
	b.Spoil(b, fault)
	switch point.how {
	case "killed":
		b.killed(args...)
	case "delayed":
		code := b.paused(func(azuretest.Paused, *exec.Cmd) {
			if _, stderr := b.mops(5, "infra", "up"); !strings.Contains(stderr, "wait for it to end") {
				b.Errorf("two at once:\n%s", stderr)
			}
			b.mops(0, "infra", "status")
		}, args...)
		if code != 0 {
			b.Errorf("exit code %d:\n%s", code, b.said.String())
		}
	case "lost":
		// The account's own retry may have hidden it: what counts is the next "up".
		b.mops(code, args...)
	default:
		b.mops(code, args...)
	}
	if b.Unmet(b) {
		b.Fatal(fmt.Sprint("nothing met the fault: ", point))
	}
}
