// Package enginetest lets tests run Pulumi's real engine without a cloud. It has the
// engine's program ([CLI]), a cloud that is a directory ([Cloud]), so that it outlives
// every process that is killed, and a provider's plugin over it ([Provider]): a real one,
// over gRPC, that the engine starts. Faults are put into the cloud by the test and met by
// the plugin.
//
// A test binary is its own plugin:
//
//	func TestMain(m *testing.M) { enginetest.Main(m, toy) }
//
//	func TestX(t *testing.T) {
//		cloud := enginetest.NewCloud(t)
//		plugin := engine.Plugin{Name: "toy", Version: "1.0.0", Path: enginetest.Plugin(t, "toy")}
//		environ := append(os.Environ(), cloud.Environ())
//		…
//		cloud.Inject(t, enginetest.Fault{Op: "create", Name: "b", Do: enginetest.Fail, Message: "409 Conflict"})
//
// The cloud behaves as Azure Resource Manager does where the engine can tell: an ID is
// made from the inputs, and what exists cannot be created again.
package enginetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/gofrs/flock"
)

// Main runs the tests, or the plugin when the engine started this program as one.
func Main(m *testing.M, p Provider) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "pulumi-resource-") {
		p.Main()
		return
	}
	os.Exit(m.Run())
}

// Plugin is a directory in which the engine finds the plugin of that name: this program.
func Plugin(t testing.TB, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "pulumi-resource-"+name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// CLI is the engine's program: that of MODELOPS_TEST_PULUMI, else the one in .cache of
// this checkout, which is built when it is not there. That takes 3 to 10 minutes, once;
// "make pulumi" does the same.
func CLI(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("MODELOPS_TEST_PULUMI"); path != "" {
		return path
	}
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "cli")
	root, err := filepath.Abs(filepath.Join(module, "..", "..", "..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`pulumi/pkg/v3 v(\S+)`).FindSubmatch(mod)
	if found == nil {
		t.Fatalf("%s requires no engine", module)
	}
	version := string(found[1])
	path := filepath.Join(root, ".cache", "pulumi", "bin", "pulumi")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	lock := flock.New(filepath.Join(root, ".cache", "pulumi", "build.lock")) // tests of other packages build it, too
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if out, err := exec.Command(path, "version").Output(); err == nil && strings.TrimSpace(string(out)) == version {
		return path
	}
	build := exec.Command("go", "build", "-mod=readonly", "-o", path,
		"-ldflags", "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version="+version, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi")
	build.Dir, build.Env = module, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the engine: %v\n%s", err, out)
	}
	return path
}
