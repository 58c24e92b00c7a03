//go:build linux && images

package images_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// largest is what a worker may have over its base, compressed, in bytes.
const largest = 120e6

// TestImages builds the images with buildah, twice, and pushes them to the local registry.
// Their base is made here, from Debian's packages of the release that the real one has. It
// takes minutes and root: "make test-images" asks for it.
func TestImages(t *testing.T) {
	if os.Getenv("MODELOPS_TEST_IMAGES") == "" {
		t.Fatal("MODELOPS_TEST_IMAGES names no directory for the base: use make test-images")
	}
	y := newYard(t)
	y.revision, y.version = y.ok("git", "rev-parse", "HEAD"), y.ok("git", "describe", "--tags", "--always", "--dirty")
	first, again := y.make("worker scheduler driver"), y.make("worker")
	if first["worker"] == "" || first["worker"] != again["worker"] {
		t.Fatalf("one commit gave %s, and then %s", first["worker"], again["worker"])
	}
	for _, name := range []string{"worker", "scheduler", "driver"} {
		t.Run(name, func(t *testing.T) { y.in(t).inspect(name, first[name]) })
	}
	t.Run("compose", func(t *testing.T) { y.in(t).compose() })
	t.Run("task", func(t *testing.T) { y.in(t).task() })
	t.Run("job", func(t *testing.T) { y.in(t).job() })
}

// canary stands for every secret that a machine that builds images may have about it.
const canary = "CANARY-5d1c0f"

// yard is where images are built: a store and a registry of their own.
type yard struct {
	t        *testing.T
	dir      string // of this test
	registry string // host and port
	environ  []string
	base     string // with its digest
	revision string // of the checkout when the images were built, and as Git describes it
	version  string
}

func newYard(t *testing.T) *yard {
	t.Helper()
	kept := os.Getenv("MODELOPS_TEST_IMAGES")
	y := &yard{t: t, dir: t.TempDir()}
	home := filepath.Join(y.dir, "home")
	y.environ = append(os.Environ(), "MODELOPS_HOME="+home, "PATH="+os.Getenv("MODELOPS_TEST_BIN")+":"+os.Getenv("PATH"),
		"IMAGES_TOOL=buildah", "BUILDAH_ISOLATION=chroot", "IMAGES_LOCK="+filepath.Join(y.dir, "lock"), "TAG=test",
		"CONTAINERS_STORAGE_CONF="+filepath.Join(y.dir, "storage.conf"), "CONTAINERS_REGISTRIES_CONF="+filepath.Join(y.dir, "registries.conf"),
		"REGISTRY_PASSWORD="+canary, "AZURE_STORAGE_CONNECTION_STRING="+canary, "GITHUB_TOKEN="+canary)
	y.ok("mops", "infra", "up")
	t.Cleanup(func() { y.command("mops", "infra", "down").Run() })
	var env struct {
		Registry struct {
			LoginServer string `json:"login_server"`
		}
	}
	decode(t, []byte(y.ok("mops", "env", "show", "local", "--json")), &env)
	y.registry = env.Registry.LoginServer
	y.environ = append(y.environ, "IMAGES_PREFIX="+y.registry+"/team")
	y.write("registries.conf", fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", y.registry))
	y.write("storage.conf", fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(kept, "storage"), filepath.Join(kept, "run")))
	y.makeBase(filepath.Join(kept, "base"))
	return y
}

// in is the same yard for a part of the test, which fails for itself.
func (y *yard) in(t *testing.T) *yard {
	part := *y
	part.t = t
	return &part
}

func (y *yard) write(name, text string) {
	y.t.Helper()
	if err := os.WriteFile(filepath.Join(y.dir, name), []byte(text), 0o600); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) command(name string, args ...string) *exec.Cmd {
	if bin := os.Getenv("MODELOPS_TEST_BIN"); name == "mops" || name == "modelops-bundle" {
		name = filepath.Join(bin, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = checkout(y.t), y.environ
	return cmd
}

// ok runs a command that must succeed, and answers with what it printed.
func (y *yard) ok(name string, args ...string) string {
	y.t.Helper()
	return y.run(y.command(name, args...))
}

func (y *yard) run(cmd *exec.Cmd) string {
	y.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		y.t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

// makeBase makes a Debian with Python 3.13 where this machine's apt gets its packages, once.
func (y *yard) makeBase(dir string) {
	const name = "localhost/modelops-test-base:trixie"
	if y.command("buildah", "inspect", name).Run() != nil {
		var mirror string
		for line := range strings.Lines(y.ok("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages")) {
			if uri, of, _ := strings.Cut(strings.TrimSpace(line), " "); of == "Debian Debian" {
				mirror = uri
			}
		}
		if mirror == "" {
			y.t.Fatal("apt has no mirror of Debian here")
		}
		if err := os.RemoveAll(dir); err != nil {
			y.t.Fatal(err)
		}
		y.ok("debootstrap", "--variant=minbase", "--include=python3-venv,python3-pip,ca-certificates", "trixie", dir, mirror)
		y.ok("sh", "-c", "rm -rf "+dir+"/var/cache/apt/archives/*.deb")
		container := y.ok("buildah", "from", "scratch")
		y.ok("buildah", "add", "--quiet", container, dir, "/")
		y.ok("buildah", "commit", "--quiet", "--rm", "--timestamp", "0", container, name)
		if err := os.RemoveAll(dir); err != nil {
			y.t.Fatal(err)
		}
	}
	var image struct{ FromImageDigest string }
	decode(y.t, []byte(y.ok("buildah", "inspect", name)), &image)
	y.base = "localhost/modelops-test-base@" + image.FromImageDigest
	y.environ = append(y.environ, "BASE="+y.base)
}

var locks = regexp.MustCompile(`(?m)^  (\w+)_image: (\S+)@(sha256:[0-9a-f]{64})$`)

// make builds and pushes images as users do, and answers with their digests.
func (y *yard) make(targets string) map[string]string {
	y.t.Helper()
	for _, step := range []string{"build", "push"} {
		cmd := y.command("sh", "scripts/images.sh", step)
		cmd.Env = append(y.environ, "IMAGES_TARGETS="+targets)
		y.run(cmd)
	}
	lock, err := os.ReadFile(filepath.Join(y.dir, "lock"))
	if err != nil {
		y.t.Fatal(err)
	}
	digests := map[string]string{}
	for _, found := range locks.FindAllStringSubmatch(string(lock), -1) {
		if want := y.registry + "/team/modelops-" + found[1]; found[2] != want {
			y.t.Errorf("%s is said to be in %s, not %s", found[1], found[2], want)
		}
		digests[found[1]] = found[3]
	}
	return digests
}

type manifest struct {
	Config descriptor
	Layers []descriptor
}

type descriptor struct {
	Digest string
	Size   int64
}

type config struct {
	Created string
	Config  struct {
		User       string
		Env        []string
		Entrypoint []string
		Volumes    map[string]struct{}
		Labels     map[string]string
	}
	Rootfs struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

// image is the configuration of an image in the store.
func (y *yard) image(name string) config {
	y.t.Helper()
	var image struct{ OCIv1 config }
	decode(y.t, []byte(y.ok("buildah", "inspect", "--type", "image", name)), &image)
	return image.OCIv1
}

// inspect holds what the registry has against what is promised of an image.
func (y *yard) inspect(name, digest string) {
	t := y.t
	var m manifest
	decode(t, y.fetch(t, name, "manifests", digest), &m)
	raw := y.fetch(t, name, "blobs", m.Config.Digest)
	var c config
	decode(t, raw, &c)
	if c.Config.User != "1000:1000" {
		t.Errorf("it runs as %q", c.Config.User)
	}
	for label, want := range map[string]string{
		"title": "modelops-" + name, "revision": y.revision, "version": y.version,
		"source": "https://github.com/modelops-suite/modelops-go", "licenses": "MIT", "base.name": y.base,
	} {
		if got := c.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, not %q", label, got, want)
		}
	}
	below := y.image(y.base).Rootfs.DiffIDs
	over := len(below)
	if over == 0 || over >= len(c.Rootfs.DiffIDs) || !slices.Equal(below, c.Rootfs.DiffIDs[:over]) {
		t.Fatalf("it does not stand on its base: %v, %v", below, c.Rootfs.DiffIDs)
	}
	size := int64(0)
	for _, layer := range m.Layers[over:] {
		size += layer.Size
		y.search(t, name, layer.Digest)
	}
	hide(t, "the configuration", raw, y.dir, checkout(t))
	t.Logf("%s: %.1f MB compressed over its base, in %d layers", name, float64(size)/1e6, len(m.Layers)-over)
	if name == "worker" && size > largest {
		t.Errorf("a worker has %d bytes over its base, and may have %.0f", size, largest)
	}
}

// hide looks for what must not get out of the machine that built an image.
func hide(t *testing.T, where string, data []byte, paths ...string) {
	t.Helper()
	for _, word := range append(paths, canary) {
		if bytes.Contains(data, []byte(word)) {
			t.Errorf("%s has %q", where, word)
		}
	}
}

// search looks at every file of a layer: at what is in it, whose it is and who may write it.
func (y *yard) search(t *testing.T, name, digest string) {
	packed, err := gzip.NewReader(bytes.NewReader(y.fetch(t, name, "blobs", digest)))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(packed); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		hide(t, header.Name, data, y.dir, checkout(t))
		switch own := header.Uid == 1000; {
		case strings.HasPrefix(header.Name, "build/"), strings.HasPrefix(header.Name, "root/."):
			t.Errorf("%s was left by the build", header.Name)
		case own && (header.Typeflag != tar.TypeDir || header.Mode&0o777 != 0o700):
			t.Errorf("%s belongs to the user that runs, with mode %o", header.Name, header.Mode)
		case header.Typeflag != tar.TypeSymlink && header.Mode&0o002 != 0 && header.Mode&0o1000 == 0:
			t.Errorf("%s may be written by everybody", header.Name)
		}
	}
}

func (y *yard) fetch(t *testing.T, name, kind, digest string) []byte {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+y.registry+"/v2/team/modelops-"+name+"/"+kind+"/"+digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s of %s: %s, %v", kind, digest, name, response.Status, err)
	}
	return data
}

// compose has the loader of Compose itself read the composition, against its schema.
func (y *yard) compose() {
	t := y.t
	cmd := y.command("go", "run", "-mod=readonly", ".", filepath.Join(checkout(t), "modelops/images/compose.yaml"))
	cmd.Dir = filepath.Join(cmd.Dir, "modelops/images/testdata/composeload")
	cmd.Env = append(cmd.Env, "GOWORK=off")
	var services map[string]struct {
		Image    string
		ReadOnly bool `json:"read_only"`
		Ports    []struct {
			HostIP string `json:"host_ip"`
		}
		Healthcheck json.RawMessage
	}
	decode(t, []byte(y.run(cmd)), &services)
	for _, name := range []string{"registry", "azurite", "scheduler", "worker", "container"} {
		service, is := services[name]
		if !is || !service.ReadOnly || service.Image == "" || name != "container" && service.Healthcheck == nil {
			t.Errorf("%s: %+v", name, service)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s listens on %q", name, port.HostIP)
			}
		}
	}
}
