package cli

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// onSmallDisk has a directory of the host on a disk of 4 MiB, which only the command and what
// it starts see: it is mounted in a namespace of its own.
func (h *host) onSmallDisk(name string, cmd *exec.Cmd) *exec.Cmd {
	h.Helper()
	const mount = `mount -t tmpfs -o size=4m,mode=700 none "$0"`
	dir := h.path(name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		h.Fatal(err)
	}
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", mount, dir).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			h.Skipf("no small disk can be mounted here: %s", out)
		}
		h.Fatalf("no small disk can be mounted here: %s", out)
	}
	named := h.path("bundle-worker")
	if err := os.Symlink(cmd.Path, named); err != nil {
		h.Fatal(err)
	}
	isolated := exec.Command("unshare", append([]string{"--mount", "sh", "-c", mount + ` && exec "$@"`, dir, named}, cmd.Args[1:]...)...)
	isolated.Env = cmd.Env
	return isolated
}

// TestFullDisk has a task fill the disk of the cache. That is the task's error; bundles that
// are there run on, others are refused until there is room.
func TestFullDisk(t *testing.T) {
	h := newHost(t)
	here := h.push("here", does)
	ballast := strings.Repeat("0123456789abcdef", 1<<12)
	later := bundletest.Push(t, h.registry, "later", bundletest.Files{"wire.py": does, "ballast": ballast})
	d := h.start(h.onSmallDisk("cache", h.command("serve", "--json", "--slots", "1", "--socket", h.path("s/w"))), nil)

	const file = "os.path.join(os.path.dirname(os.path.dirname(os.getcwd())), 'ballast')"
	full := d.run(doing(here, "\nwith open("+file+", 'wb', 0) as f:\n    while True: f.write(bytes(1 << 16))", 1), "")
	if e := full.Error; e == nil || e.Code != contracts.CodeModel || !strings.Contains(e.Message, "No space left on device") || e.Retryable {
		t.Fatalf("the task that fills the disk: %+v", e)
	}
	for _, process := range []string{"", "?process=cold"} {
		if next := d.run(doing(here, "pass", 2), process); next.Error != nil {
			t.Errorf("a bundle that is there %s: %+v", process, next.Error)
		}
	}
	for range 2 {
		refused := d.run(doing(later, "pass", 3), "")
		if e := refused.Error; e == nil || e.Code != contracts.CodeDiskFull || e.Stage != contracts.StagePull || !strings.Contains(e.Hint, "free some space") {
			t.Fatalf("another bundle: %+v", e)
		}
	}
	if made := d.run(doing(here, "os.remove("+file+")", 4), ""); made.Error != nil {
		t.Fatalf("%+v", made.Error)
	}
	if then := d.run(doing(later, "outputs.update(n=str(os.path.getsize('ballast')))", 5), ""); then.Error != nil || string(then.Outputs["n"].Inline) != "65536" {
		t.Errorf("with room again: %+v, %+v", then.Outputs, then.Error)
	}
}

// TestFullDiskOfEnvironments installs more than there is room for. That is the machine's
// affair, not the bundle's, and leaves nothing.
func TestFullDiskOfEnvironments(t *testing.T) {
	h := newHost(t)
	h.environ = append(h.environ, "PIP_NO_INDEX=1")
	wheel := h.path("tiny-1.0-py3-none-any.whl")
	writeTinyWheel(t, wheel, 8<<20)
	data, err := os.ReadFile(wheel)
	if err != nil {
		t.Fatal(err)
	}
	ref := bundletest.Push(t, h.registry, "my-model", bundletest.Files{"wire.py": does, "requirements.txt": "tiny\n", "wheels/tiny-1.0-py3-none-any.whl": string(data)})
	d := h.start(h.onSmallDisk("venvs", h.command("serve", "--json")), nil)
	for range 2 {
		full := d.run(doing(ref, "pass", 1), "")
		if e := full.Error; e == nil || e.Code != contracts.CodeDiskFull || e.Stage != contracts.StagePrepare || !strings.Contains(e.Message, "No space left") || !strings.Contains(e.Hint, "free some space") {
			t.Fatalf("%+v", e)
		}
	}
	left := d.run(doing(h.push("plain", does), "outputs.update(left=' '.join(os.listdir("+strconv.Quote(h.path("venvs"))+")))", 2), "")
	if left.Error != nil || string(left.Outputs["left"].Inline) != "locks" {
		t.Errorf("what is left is %q, %+v", left.Outputs["left"].Inline, left.Error)
	}
}
