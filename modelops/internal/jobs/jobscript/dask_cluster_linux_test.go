package jobscript

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a Dask cluster that somebody else runs: scheduler and workers of any version,
// with TLS if it has certificates, started and configured by hand.
type cluster struct {
	*person
	python, address string
	tls             []string // arguments
	scheduler       *exec.Cmd
}

// newCluster starts a scheduler with a version of distributed, and names it in the
// environment file.
func newCluster(t *testing.T, version string, secure bool) *cluster {
	t.Helper()
	p := newPerson(t)
	requirements := filepath.Join(p.work, "cluster")
	if err := os.Mkdir(requirements, 0o700); err != nil {
		t.Fatal(err)
	}
	p.write(filepath.Join(requirements, "requirements.txt"), "distributed=="+version+"\n")
	cmd := exec.Command(filepath.Join(bin, "bundle-worker"), "ensure-python", requirements)
	cmd.Env = p.environ()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{person: p, python: strings.TrimSpace(string(out)), address: fmt.Sprintf("tcp://127.0.0.1:%d", freePort(t))}
	compute := "compute:\n  provider: dask\n  scheduler: "
	if secure {
		c.address = strings.Replace(c.address, "tcp:", "tls:", 1)
		cert, key := p.certificate()
		c.tls = []string{"--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key}
		compute += c.address + fmt.Sprintf("\n  tls: {ca_file: %s, cert_file: %s, key_file: %s}\n", cert, cert, key)
	} else {
		compute += c.address + "\n"
	}
	file := filepath.Join(p.work, "home", ".modelops", "bundle-env", "local.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p.write(file, string(data)+compute)
	c.schedule()
	return c
}

// schedule starts the scheduler.
func (c *cluster) schedule() {
	c.scheduler = c.start("dask_scheduler", nil, "--host", c.address, "--dashboard-address", "127.0.0.1:0")
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *person) write(path, text string) {
	p.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// certificate is one that is its own authority, for everybody on this machine.
func (p *person) certificate() (cert, key string) {
	p.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dask"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		p.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, key = filepath.Join(p.work, "cert.pem"), filepath.Join(p.work, "key.pem")
	p.write(cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	p.write(key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return cert, key
}

// start starts one of Dask's programs, which ends with the test.
func (c *cluster) start(program string, environ []string, args ...string) *exec.Cmd {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.work, fmt.Sprintf("%s-%d.log", program, time.Now().UnixNano())))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(c.python, append(append([]string{"-m", "distributed.cli." + program}, args...), c.tls...)...)
	cmd.Env = append(c.environ(), environ...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		_ = log.Close()
		if c.t.Failed() {
			words, _ := os.ReadFile(log.Name())
			c.t.Logf("%s:\n%s", program, words)
		}
	})
	return cmd
}

// worker starts a worker. One that starts and stops its processes fast is enough here: it
// has no nanny.
func (c *cluster) worker(environ []string, args ...string) *exec.Cmd {
	return c.start("dask_worker", environ, append([]string{
		c.address, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-nanny", "--nthreads", "1", "--local-directory", c.t.TempDir(),
	}, args...)...)
}

// study writes one of so many tasks.
func (p *person) study(tasks int, wire string) {
	p.write(filepath.Join(p.dir, "wire.py"), wire)
	p.must("study", "grid", "--model", "model.sir", "--param", fmt.Sprintf("i=int:1:%d:%d", tasks, tasks), "--output", "study.json", "--force")
}

const quick = "def wire(entrypoint, params, seed):\n    return {'rows': b'x\\n%d\\n' % params['i']}\n"

// The oldest and the newest version of distributed that is supported, with and without TLS;
// workers that have no bundle-worker, and one that has an old one.
func TestDaskVersions(t *testing.T) {
	for _, test := range []struct {
		version string
		secure  bool
	}{{"2022.12.1", false}, {"2026.8.0", true}} {
		t.Run(test.version, func(t *testing.T) {
			c := newCluster(t, test.version, test.secure)
			old := filepath.Join(c.work, "old-worker")
			c.write(old, "#!/bin/sh\necho '{\"name\":\"bundle-worker\",\"contract\":\"0.1\"}'\n")
			if err := os.Chmod(old, 0o700); err != nil {
				t.Fatal(err)
			}
			c.worker([]string{"PATH=/usr/bin:/bin"})
			c.worker([]string{"MODELOPS_BUNDLE_WORKER=" + old})
			c.study(200, quick)
			c.must("jobs", "submit", "study.json", "--wait")
			if s := c.status("latest"); s.State != "SUCCEEDED" || s.Tasks["succeeded"] != 200 {
				t.Errorf("%+v", s)
			}
			if log := c.must("jobs", "logs", "latest"); !strings.Contains(log, "distributed="+test.version) {
				t.Errorf("no bridge of version %s:\n%s", test.version, log)
			}
		})
	}
}

// A worker that cannot run tasks says why and closes, and the others run them; when there
// are no others, that is the job's error. One that comes late is used.
func TestDaskUnusableWorker(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	broken := []string{"MODELOPS_BUNDLE_ENV_FILE=" + filepath.Join(c.work, "nothing.yaml")}
	c.worker(broken)
	c.study(300, "import time\ndef wire(entrypoint, params, seed):\n    time.sleep(0.05)\n    return {'rows': b'x\\n%d\\n' % params['i']}\n")
	out, _, err := c.run("jobs", "submit", "study.json", "--wait", "--json")
	if err == nil || !strings.Contains(out, "no worker can run tasks") || !strings.Contains(out, "bundle-worker serve did not start") {
		t.Fatalf("%v\n%s", err, out)
	}
	c.worker(nil)
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 20 })
	c.worker(broken)
	c.worker(nil)
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	if s := c.status(id); s.State != "SUCCEEDED" || s.Tasks["succeeded"] != 300 {
		t.Errorf("%+v", s)
	}
	log := c.must("jobs", "logs", id)
	if !strings.Contains(log, "a worker cannot run tasks, and closes") || !strings.Contains(log, "threads=2") {
		t.Errorf("%s", log)
	}
}

// A scheduler that goes while workers are told of the job is waited for, as at any other time.
func TestDaskSchedulerGoesEarly(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	first, told := filepath.Join(c.work, "first-worker"), filepath.Join(c.work, "told")
	c.write(first, fmt.Sprintf("#!/bin/sh\nkill -KILL %d; touch %s; exec %s \"$@\"\n", c.scheduler.Process.Pid, told, filepath.Join(bin, "bundle-worker")))
	if err := os.Chmod(first, 0o700); err != nil {
		t.Fatal(err)
	}
	c.worker([]string{"MODELOPS_BUNDLE_WORKER=" + first})
	c.study(20, quick)
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(jobStatus) bool { _, err := os.Stat(told); return err == nil })
	c.schedule()
	c.worker(nil)
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	if s := c.status(id); s.State != "SUCCEEDED" || s.Tasks["succeeded"] != 20 {
		t.Errorf("%+v\n%s", s, c.must("jobs", "logs", id))
	}
}

// A cluster that is started again with another certificate, in the same files, is one that
// was lost for a while: a job that runs reads the files again, and goes on.
func TestDaskRenewedCertificate(t *testing.T) {
	c := newCluster(t, "2026.8.0", true)
	worker, hurry := c.worker(nil), filepath.Join(c.work, "hurry")
	c.study(40, fmt.Sprintf("import os, time\ndef wire(entrypoint, params, seed):\n    time.sleep(0 if os.path.exists(%q) else 0.5)\n    return {'rows': b'x\\n%%d\\n' %% params['i']}\n", hurry))
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 2 })
	for _, lost := range []*exec.Cmd{c.scheduler, worker} {
		if err := lost.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	c.certificate()
	c.schedule()
	c.worker(nil)
	c.write(hurry, "")
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 40)
}

// A bundle-worker that is told to end, and has a task that takes its time, refuses what else
// comes: no task has all its tries there.
func TestDaskDrainingWorker(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	worker := c.worker(nil, "--nthreads", "2")
	c.study(200, "import time\ndef wire(entrypoint, params, seed):\n    time.sleep(6 if params['i'] == 2 else 0.02)\n    return {'rows': b'x\\n%d\\n' % params['i']}\n")
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] > 5 })
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", worker.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, list := range lists {
		children, _ := os.ReadFile(list) // of a thread that may have ended
		for child := range strings.FieldsSeq(string(children)) {
			name, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if pid, err := strconv.Atoi(child); err == nil && strings.Contains(string(name), "serve\x00--until-eof") && syscall.Kill(pid, syscall.SIGTERM) == nil {
				told++
			}
		}
	}
	if told != 1 {
		t.Fatalf("told %d servers to end", told)
	}
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	if s := c.status(id); s.State != "SUCCEEDED" || s.Tasks["succeeded"] != 200 {
		t.Errorf("%+v\n%s", s, c.must("jobs", "logs", id))
	}
}

// A task that takes long holds up none that travels with it: what ended before it is stored
// while it runs, what comes after it runs elsewhere, and nothing runs twice.
func TestDaskSlowTask(t *testing.T) {
	for _, version := range []string{"2022.12.1", "2026.8.0"} {
		t.Run(version, func(t *testing.T) { slowTask(t, newCluster(t, version, false)) })
	}
}

func slowTask(t *testing.T, c *cluster) {
	c.worker(nil)
	c.worker(nil)
	c.threads(2)
	ran, hurry := filepath.Join(c.work, "ran"), filepath.Join(c.work, "hurry")
	c.study(100, fmt.Sprintf(`import os, time
def wire(entrypoint, params, seed):
    with open(%q, "a") as out:
        out.write("%%d\n" %% params["i"])
    while params["i"] == 60 and not os.path.exists(%q):
        time.sleep(0.05)
    return {"rows": b"x\n%%d\n" %% params["i"]}
`, ran, hurry))
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	c.until(id, func(s jobStatus) bool { return s.Tasks["succeeded"] == 99 })
	c.write(hurry, "")
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	c.checkRows(id, 100)
	words, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(words))
	slices.Sort(lines)
	if n := len(slices.Compact(slices.Clone(lines))); n != 100 || len(lines) != 100 {
		t.Errorf("%d tasks ran, %d times in all", n, len(lines))
	}
}

// What no worker of the cluster can ever run is refused before anything runs. What a worker has
// once, one task has at a time, however many threads there are.
func TestDaskResources(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	c.worker(nil, "--nthreads", "4", "--resources", "cores=4 memory=2e9")
	c.study(8, fmt.Sprintf(`import os, time
def wire(entrypoint, params, seed):
    os.close(os.open(%[1]q, os.O_CREAT | os.O_EXCL))
    time.sleep(0.2)
    os.unlink(%[1]q)
    return {"rows": b"x\n%%d\n" %% params["i"]}
`, filepath.Join(c.work, "alone")))
	study := filepath.Join(c.dir, "study.json")
	data, err := os.ReadFile(study)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(resources string) {
		c.write(study, strings.Replace(string(data), "{", `{"resources":`+resources+`,`, 1))
	}
	ask(`{"cores":64}`)
	out, _, err := c.run("jobs", "submit", "study.json", "--wait", "--json")
	if err == nil || !strings.Contains(out, "no worker of the cluster can run a task with 64 cores; the largest has 4 cores") {
		t.Errorf("%v\n%s", err, out)
	}
	ask(`{"cores":3,"memory":"1Gi"}`)
	c.must("jobs", "submit", "study.json", "--wait")
	c.checkRows("latest", 8)
}

// A worker that is killed while it evaluates a target costs no result: the evaluation runs on
// another, and the simulations do not run again.
func TestDaskTargetsOutliveTheirWorker(t *testing.T) {
	c := newCluster(t, "2026.8.0", false)
	first := c.worker(nil)
	c.threads(1)
	ran, evaluates, hurry := filepath.Join(c.work, "ran"), filepath.Join(c.work, "evaluates"), filepath.Join(c.work, "hurry")
	c.write(filepath.Join(c.dir, "wire.py"), fmt.Sprintf(`def wire(entrypoint, params, seed):
    with open(%q, "a") as out:
        out.write("%%d\n" %% seed)
    return {"x": b"7"}
`, ran))
	c.write(filepath.Join(c.dir, "study.json"), `{"model": "model.sir", "scenario": "baseline", "parameter_sets": [{"params": {}}], "targets": null}`)
	c.targets(fmt.Sprintf(`import os, time
def mean(replicates):
    open(%q, "w").close()
    while not os.path.exists(%q):
        time.sleep(0.05)
    return sum(int(r["x"]) for r in replicates) / len(replicates)
`, evaluates, hurry), "mean")
	id := strings.TrimSpace(c.must("jobs", "submit", "study.json"))
	eventually(t, "the target is evaluated", func() bool { _, err := os.Stat(evaluates); return err == nil })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.worker(nil)
	c.write(hurry, "")
	c.until(id, func(s jobStatus) bool { return s.State != "RUNNING" && s.State != "SUBMITTED" })
	if s := c.status(id); s.State != "SUCCEEDED" || s.Evaluations["succeeded"] != 1 {
		t.Errorf("%+v\n%s", s, c.must("jobs", "logs", id))
	}
	if words, err := os.ReadFile(ran); err != nil || strings.Count(string(words), "\n") != 1 {
		t.Errorf("the simulation ran as %q, %v", words, err)
	}
}

// until waits until a job is as wanted.
func (p *person) until(id string, wanted func(jobStatus) bool) {
	p.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		s := p.status(id)
		if wanted(s) {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			p.t.Fatalf("%+v", s)
		}
	}
}
