//go:build linux && images

package images_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/azuritetest"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
)

// user is who runs in the images.
const user = 1000

// container is an image that is run by buildah, in a chroot on this machine's network.
type container struct {
	*yard
	t        *testing.T
	id, root string
	options  []string // of buildah run, each a flag and its value

	entrypoint, environment []string // the image's
}

// start makes a container of an image, which is removed with the test. Volumes are
// directories of this test by their places in it.
func (y *yard) start(t *testing.T, name string, volumes map[string]string, environ ...string) *container {
	t.Helper()
	image := y.registry + "/team/modelops-" + name + ":test"
	c := &container{yard: y, t: t, id: y.ok("buildah", "from", "--quiet", "--pull-never", image)}
	t.Cleanup(func() { y.command("buildah", "rm", c.id).Run() })
	c.root = y.ok("buildah", "mount", c.id)
	own := y.image(image).Config
	c.entrypoint, c.environment = own.Entrypoint, own.Env
	for place := range own.Volumes { // buildah would put an empty one over that which is given
		y.ok("buildah", "config", "--volume", place+"-", c.id)
	}
	for place, dir := range volumes {
		c.options = append(c.options, "--volume", dir+":"+place)
	}
	for _, variable := range environ {
		c.options = append(c.options, "--env", variable)
	}
	return c
}

// command is one in the container, as the image's own user.
func (c *container) command(args ...string) *exec.Cmd {
	return c.yard.command("buildah", slices.Concat([]string{"run"}, c.options, []string{c.id, "--"}, args)...)
}

// volume is a directory of the images' user.
func (y *yard) volume(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(y.dir, "volumes", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	give(t, dir)
	return dir
}

// give makes everything in a directory the images' user's.
func give(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// project is one that the minimal template makes, pushed to the registry.
func (y *yard) project(t *testing.T) (dir, ref string) {
	t.Helper()
	work := y.volume(t, "work")
	dir = filepath.Join(work, "my-model")
	if _, err := os.Stat(dir); err != nil {
		cmd := y.command("modelops-bundle", "init", "my-model", "--template", "minimal")
		cmd.Dir = work
		y.run(cmd)
	}
	push := y.command("modelops-bundle", "push", "--env", "local")
	push.Dir = dir
	return dir, y.run(push)
}

// writes is a program that prints the directories of the root that its user may write to.
const writes = `
import os
for place in os.listdir("/"):
    if place not in ("proc", "sys", "dev"):
        for directory, _, _ in os.walk("/" + place):
            if os.access(directory, os.W_OK):
                print(directory)
`

// task has a worker run a task of a bundle: as buildah runs it, and with a root that is
// read-only.
func (y *yard) task() {
	t := y.t
	_, ref := y.project(t)
	c := y.start(t, "worker", map[string]string{"/var/cache/modelops": y.volume(t, "task-cache"), "/tmp": y.volume(t, "task-tmp")}, "MODELOPS_BUNDLE_REGISTRY="+y.registry)
	for name, command := range map[string]func(...string) *exec.Cmd{"buildah": c.command, "read-only": c.readOnly} {
		cmd := command("/opt/modelops/bin/bundle-worker", "exec")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"bundle_ref": %q, "entrypoint": "model.sir/baseline", "seed": 1, "outputs": null,
			"params": {"param_id": "761edf35ca1634d79a760bfa7030cf07e72a3559b3cdb0c56d20557de35b1e07", "values": {"beta": 0.3, "gamma": 0.1}}}`, ref))
		var result struct {
			Outputs map[string]json.RawMessage
			Error   json.RawMessage
		}
		decode(t, []byte(y.run(cmd)), &result)
		if len(result.Outputs) == 0 || len(result.Error) > 0 && string(result.Error) != "null" {
			t.Errorf("%s: %+v, %s", name, result, result.Error)
		}
	}
	if words, err := c.readOnly("/bin/sh", "-c", "echo x > /home/modelops/file").CombinedOutput(); err == nil || !strings.Contains(string(words), "Read-only") {
		t.Errorf("the root is not read-only: %v, %s", err, words)
	}
	for _, words := range [][]string{{"uv", "--version"}, {"git", "--version"}, {"bundle-worker", "version"}} {
		y.run(c.command(words...))
	}
	places := strings.Fields(y.run(c.command("python3", "-c", writes)))
	places = slices.DeleteFunc(places, func(place string) bool {
		return slices.ContainsFunc([]string{"/tmp", "/var/tmp", "/run/lock", "/var/cache/modelops", "/var/lib/modelops", "/home/modelops"}, func(own string) bool {
			return place == own || strings.HasPrefix(place, own+"/")
		})
	})
	if len(places) > 0 {
		t.Errorf("the user may write to %v", places)
	}
}

// readOnly is a command in the container whose root is mounted read-only, which buildah has
// no way to do in a chroot.
func (c *container) readOnly(args ...string) *exec.Cmd {
	script := []string{"set -e", "mount --make-rprivate /", `mount --bind "$0" "$0"`, `mount -o remount,bind,ro "$0"`,
		`mount --rbind /dev "$0/dev"`, `mount -t proc proc "$0/proc"`}
	environ := []string{"-i"}
	for option := range slices.Chunk(c.options, 2) {
		switch dir, place, _ := strings.Cut(option[1], ":"); option[0] {
		case "--volume":
			script = append(script, fmt.Sprintf("mount --bind '%s' \"$0%s\"", dir, place))
		case "--env":
			environ = append(environ, option[1])
		}
	}
	script = append(script, fmt.Sprintf(`exec chroot --userspec=%d:%d "$0" /usr/bin/env "$@"`, user, user))
	environ = append(environ, c.environment...)
	return c.yard.command("unshare", slices.Concat([]string{"--mount", "sh", "-c", strings.Join(script, "\n"), c.root}, environ, args)...)
}

// secure is a directory with a certificate, for /etc/modelops/tls, where a workspace has it,
// and what has Dask use it.
func (y *yard) secure(t *testing.T) (dir string, args []string) {
	t.Helper()
	shared, err := certificate.Issue("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir = y.volume(t, "tls")
	for name, data := range map[string][]byte{"ca.crt": shared.Authority, "tls.crt": shared.Certificate, "tls.key": shared.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	give(t, dir)
	return dir, []string{"--protocol", "tls", "--tls-ca-file", "/etc/modelops/tls/ca.crt", "--tls-cert", "/etc/modelops/tls/tls.crt", "--tls-key", "/etc/modelops/tls/tls.key"}
}

// job has the driver's image run a job on a cluster of the other two, which talk TLS as in
// a workspace and whose storage is the composition's, and then tells a worker to end.
func (y *yard) job() {
	t := y.t
	storage := azuritetest.Start(t)
	y.ok("python3", "modelops/images/compose/container.py", storage.Endpoint, "bundle-blobs")
	port := free(t)
	scheduler := "tls://127.0.0.1:" + port
	tls, secure := y.secure(t)
	s := y.start(t, "scheduler", map[string]string{"/etc/modelops/tls": tls, "/tmp": y.volume(t, "scheduler-tmp")})
	s.serve("scheduler", append(secure, "--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0")...)
	w := y.start(t, "worker", map[string]string{"/etc/modelops/tls": tls, "/var/cache/modelops": y.volume(t, "cache"), "/tmp": y.volume(t, "worker-tmp")},
		"MODELOPS_BUNDLE_REGISTRY="+y.registry, "AZURE_STORAGE_CONNECTION_STRING="+storage.ConnectionString())
	worker := w.serve("worker", append(secure, scheduler, "--host", "127.0.0.1", "--nthreads", "2", "--dashboard-address", "127.0.0.1:0")...)

	home := y.volume(t, "driver")
	dir, _ := y.project(t)
	for path, text := range map[string]string{
		filepath.Join(home, "bundle-env", "test.yaml"): fmt.Sprintf("environment: test\nregistry: {provider: docker, login_server: %q}\n"+
			"storage: {provider: azurite, container: bundle-blobs, endpoint: %q}\ncompute: {provider: dask, scheduler: %q, "+
			"tls: {ca_file: /etc/modelops/tls/ca.crt, cert_file: /etc/modelops/tls/tls.crt, key_file: /etc/modelops/tls/tls.key}}\n", y.registry, storage.Endpoint, scheduler),
		filepath.Join(dir, "study.json"): `{"model": "model.sir", "scenario": "baseline", "n_replicates": 5, "parameter_sets": [{"params": {"beta": 0.3, "gamma": 0.1}}, {"params": {"beta": 0.4, "gamma": 0.1}}]}`,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, ".modelops-bundle", "env")); err != nil {
		t.Fatal(err)
	}
	give(t, home)
	give(t, dir)
	d := y.start(t, "driver", map[string]string{"/etc/modelops/tls": tls, "/var/lib/modelops": home, "/var/cache/modelops": y.volume(t, "driver-cache"), "/tmp": y.volume(t, "driver-tmp"), "/home/modelops": filepath.Dir(dir)})
	d.options = append(d.options, "--workingdir", "/home/modelops/my-model")
	var status struct {
		State string
		Tasks struct{ Total, Succeeded int }
	}
	var submitted struct {
		JobID    string `json:"job_id"`
		Executor string
	}
	decode(t, []byte(strings.Split(y.run(d.command(append(d.entrypoint, "jobs", "submit", "study.json", "--env", "test", "--wait", "--json")...)), "\n")[0]), &submitted)
	decode(t, []byte(y.run(d.command(append(d.entrypoint, "jobs", "status", submitted.JobID, "--env", "test", "--json")...))), &status)
	if submitted.Executor != "dask" || status.State != "SUCCEEDED" || status.Tasks.Total != 10 || status.Tasks.Succeeded != 10 {
		t.Errorf("%+v, %+v", submitted, status)
	}
	if _, err := os.Stat(filepath.Join(home, "state", "dask")); err == nil {
		t.Error("the driver made itself a Python, and has one")
	}
	if words := worker.words.String(); strings.Contains(words, "it takes the driver's") {
		t.Errorf("the worker did not use its own bundle-worker:\n%s", words)
	}
	worker.tell(syscall.SIGTERM)
	if code := worker.wait(); code != 0 || !strings.Contains(worker.words.String(), "SIGTERM") {
		t.Errorf("it ended with exit code %d\n%s", code, &worker.words)
	}
}

// server is a container's entry point at work.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	mark  string // an argument that no other process has
	ended chan struct{}
	words bytes.Buffer
}

// serve runs the image's entry point until it is told to end, or the test does.
func (c *container) serve(name string, args ...string) *server {
	c.t.Helper()
	s := &server{t: c.t, mark: name + "-" + c.id, ended: make(chan struct{})}
	if name == "worker" {
		args = append(args, "--name", s.mark)
	} else {
		args = append(args, "--scheduler-file", "/tmp/"+s.mark)
	}
	s.cmd = c.command(append(slices.Clone(c.entrypoint), args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.words, &s.words
	if err := s.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	c.t.Cleanup(func() {
		s.tell(syscall.SIGKILL)
		<-s.ended
		if c.t.Failed() {
			c.t.Logf("%s:\n%s", name, &s.words)
		}
	})
	return s
}

// tell sends the entry point itself a signal; buildah, which started it, has none to pass on.
func (s *server) tell(signal syscall.Signal) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, _ := os.ReadFile(file)
		if !bytes.HasPrefix(line, []byte("/opt/modelops/dask/bin/python")) || !bytes.Contains(line, []byte(s.mark)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err == nil {
			_ = syscall.Kill(pid, signal)
		}
	}
}

func (s *server) wait() int {
	select {
	case <-s.ended:
	case <-time.After(2 * time.Minute):
		s.t.Error("it does not end")
		s.tell(syscall.SIGKILL)
		<-s.ended
	}
	return s.cmd.ProcessState.ExitCode()
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
