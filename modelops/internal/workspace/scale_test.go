//go:build unix && kubernetes

package workspace

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/executor/dask"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

// client submits four tasks, each of which runs until there is a file of its number, and
// says where each ran.
const client = `
import os, sys, time, distributed
def held(directory, number):
    for _ in range(1200):
        if os.path.exists(os.path.join(directory, str(number))):
            return distributed.get_worker().name
        time.sleep(0.1)
    raise TimeoutError
if __name__ == "__main__":
    address, directory, authority, certificate, key = sys.argv[1:]
    security = distributed.Security(tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)
    with distributed.Client(address, security=security) as client:
        futures = [client.submit(held, directory, number, pure=False) for number in range(4)]
        print("submitted", flush=True)
        for future in distributed.as_completed(futures):
            print("ran", future.result(), flush=True)
        sys.stdin.readline()
`

// scaling is a scheduler with the scaler, workers and a client: all real, but for the pods.
type scaling struct {
	t       *testing.T
	k       *kube.Cluster
	bin     string // with dask and python
	dir     string
	address string
}

// The scaler asks for as many workers as there are tasks, lets go of idle ones only, tells
// these first, and of all when there is nothing to do. It has the rights of its service
// account and no others.
func TestKubernetesScale(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	s := &scaling{t: t, k: cluster.Open(t, cluster.Namespace(t)), dir: t.TempDir()}
	s.install()
	s.startScheduler(cluster)
	s.refusesStrangers(cluster)
	lines, input := s.startClient()
	expect(t, lines, "submitted")
	s.awaitSize(3) // four tasks, and three at most

	for _, name := range []string{"w-0", "w-1"} { // the third never comes
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.k.Namespace},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "x"}}}}
		if err := s.k.Create(t.Context(), pod, kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		s.start("worker", append(s.tls(), s.address, "--no-nanny", "--name", name, "--nthreads", "1", "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--local-directory", t.TempDir())...)
	}
	for number := range 3 {
		s.release(number)
	}
	for range 3 {
		expect(t, lines, "ran ")
	}
	s.awaitSize(1)
	gone := s.marked()
	if len(gone) != 1 {
		t.Fatalf("marked are %v", gone)
	}
	s.release(3)
	if line := expect(t, lines, "ran "); strings.HasSuffix(line, gone[0]) {
		t.Errorf("%s, which was to go, and had a task", line)
	}
	_ = input.Close() // the client goes
	s.awaitSize(0)
	if gone = s.marked(); len(gone) != 2 {
		t.Errorf("marked are %v", gone)
	}
}

// install puts the workspace's objects into the cluster, with no worker.
func (s *scaling) install() {
	s.t.Helper()
	for _, o := range objects(s.t, configured(s.t, "namespace: "+s.k.Namespace)) {
		if err := s.k.Apply(s.t.Context(), o, kube.ApplyOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: Certificate, Namespace: s.k.Namespace}}
	if err := s.k.Get(s.t.Context(), secret); err != nil {
		s.t.Fatal(err)
	}
	for key, data := range secret.Data {
		if err := os.WriteFile(filepath.Join(s.dir, key), data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.k.Patch(s.t.Context(), s.deployment(), []byte(`{"spec":{"replicas":0}}`)); err != nil {
		s.t.Fatal(err)
	}
	worker := filepath.Join(os.Getenv("MODELOPS_TEST_BIN"), "bundle-worker")
	environ := append(os.Environ(), "MODELOPS_VENVS_DIR="+os.Getenv("MODELOPS_TEST_DASK"))
	python, err := dask.Python(s.t.Context(), worker, s.t.TempDir(), "", environ, io.Discard)
	if err != nil {
		s.t.Fatal(err)
	}
	s.bin = filepath.Dir(python)
}

func (s *scaling) deployment() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: Worker, Namespace: s.k.Namespace}}
}

func (s *scaling) startScheduler(cluster *kubetest.Cluster) {
	s.t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	server, err := url.Parse(cluster.Server)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = "tls://127.0.0.1:" + port
	for name, value := range map[string]string{
		"KUBERNETES_SERVICE_HOST": server.Hostname(), "KUBERNETES_SERVICE_PORT": server.Port(),
		"MODELOPS_SERVICE_ACCOUNT": cluster.Account(s.t, s.k.Namespace, Scheduler), "MODELOPS_LOOK_SECONDS": "0.2",
		"MODELOPS_NAMESPACE": s.k.Namespace, "MODELOPS_WORKERS": Worker, "MODELOPS_MIN_WORKERS": "0", "MODELOPS_MAX_WORKERS": "3",
		"MODELOPS_IDLE_SECONDS": "2", "MODELOPS_WORKER_THREADS": "1",
	} {
		s.t.Setenv(name, value)
	}
	program := filepath.Join(s.dir, "scale.py")
	if err := os.WriteFile(program, []byte(scaleProgram), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.start("scheduler", append(s.tls(), "--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0", "--preload", program)...)
}

// tls are the manifests' arguments, for files of this machine.
func (s *scaling) tls() []string {
	args := tlsArgs()
	for i := range args {
		args[i] = strings.Replace(args[i], certificateDir, s.dir, 1)
	}
	return args
}

// refusesStrangers waits until the scheduler listens, and sees it close on one without a
// certificate and on one with another, and speak to one with its own.
func (s *scaling) refusesStrangers(cluster *kubetest.Cluster) {
	s.t.Helper()
	load := func(shared *certificate.Shared) []tls.Certificate {
		pair, err := tls.X509KeyPair(shared.Certificate, shared.Key)
		if err != nil {
			s.t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	own, err := issued()
	if err != nil {
		s.t.Fatal(err)
	}
	other, err := issue(time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	speaks := func(certificates []tls.Certificate) error {
		conn, err := net.Dial("tcp4", strings.TrimPrefix(s.address, "tls://"))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(kubetest.Patience)); err != nil {
			return err
		}
		_, err = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, Certificates: certificates}).Read(make([]byte, 1)) // Dask speaks first
		return err
	}
	cluster.Await(s.t, "the scheduler", func() error { return speaks(load(own)) })
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "another": load(other)} {
		err := speaks(certificates)
		if alert, ok := errors.AsType[*net.OpError](err); !ok || alert.Op != "remote error" {
			s.t.Errorf("with %s: %v", name, err)
		}
	}
}

// start runs one of dask's programs until the test ends.
func (s *scaling) start(name string, args ...string) {
	s.t.Helper()
	log, err := os.CreateTemp(s.dir, name+"-*.log")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "dask"), append([]string{name}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if s.t.Failed() {
			text, _ := os.ReadFile(log.Name()) // for people
			s.t.Logf("dask %s:\n%s", name, text)
		}
	})
}

// startClient runs the client; it goes when its input is closed.
func (s *scaling) startClient() (<-chan string, io.Closer) {
	s.t.Helper()
	program := filepath.Join(s.dir, "client.py")
	if err := os.WriteFile(program, []byte(client), 0o600); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	file := func(key string) string { return filepath.Join(s.dir, key) }
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "python"), program, s.address, s.dir, file(authorityKey), file(corev1.TLSCertKey), file(corev1.TLSPrivateKeyKey))
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 16)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
		_ = cmd.Wait()
	}()
	s.t.Cleanup(func() { cancel(); <-ended })
	return lines, input
}

func expect(t *testing.T, lines <-chan string, prefix string) string {
	t.Helper()
	select {
	case line := <-lines:
		if !strings.HasPrefix(line, prefix) {
			t.Fatalf("the client says %q, want %s", line, prefix)
		}
		return line
	case <-time.After(kubetest.Patience):
		t.Fatalf("the client does not say %s", prefix)
	}
	return ""
}

// release lets a task end.
func (s *scaling) release(number int) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, string(rune('0'+number))), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scaling) awaitSize(want int32) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), kubetest.Patience)
	defer cancel()
	last := int32(-1)
	for event, err := range s.k.Watch(ctx, &appsv1.DeploymentList{}, kube.Selection{Fields: "metadata.name=" + Worker}) {
		if d, ok := event.Object.(*appsv1.Deployment); ok && err == nil {
			if last = *d.Spec.Replicas; last == want {
				return
			}
		}
	}
	s.t.Fatalf("%d workers, want %d", last, want)
}

// marked are the pods that are the first to go.
func (s *scaling) marked() []string {
	s.t.Helper()
	var pods corev1.PodList
	if err := s.k.List(s.t.Context(), &pods, kube.Selection{}); err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, pod := range pods.Items {
		if pod.Annotations["controller.kubernetes.io/pod-deletion-cost"] == "-100" {
			names = append(names, pod.Name)
		}
	}
	return names
}
