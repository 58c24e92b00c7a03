//go:build unix

// Package kubetest runs a real Kubernetes API server for tests, on etcd, and, where a test
// asks for them, the controllers, the scheduler and simulated nodes, on which pods are
// scheduled, run and end without a container:
//
//	func TestMain(m *testing.M) { kubetest.Main(m) }
//
//	func TestKubernetesApply(t *testing.T) {
//		cluster := kubetest.Start(t, kubetest.Options{})
//		k := cluster.Open(t, cluster.Namespace(t))
//		…
//	}
//
// All tests of a package share one cluster of each sort, and have a namespace each. The
// programs are those of the directory MODELOPS_TEST_KUBERNETES, which "make kubernetes"
// builds once; without it a test is skipped, since the build takes ten minutes: "make
// test-kubernetes" runs them all. Such a test has Kubernetes in its name.
package kubetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// programs is the variable that says where the programs are.
const programs = "MODELOPS_TEST_KUBERNETES"

// Patience bounds what is waited for, on a busy machine.
const Patience = 4 * time.Minute

const lookPause = 50 * time.Millisecond

// Options say what runs beside the API server.
type Options struct {
	// Nodes is how many simulated nodes there are. With any there are the controllers and
	// the scheduler, too: Deployments and Jobs make pods, which run, and a Job's complete.
	Nodes int
}

// Cluster is a running cluster.
type Cluster struct {
	Kubeconfig string // a file; its contexts are "admin", which may do everything, and "nobody", which may do nothing
	Server     string // URL of the API server
	dir        string
	token      string // the administrator's
	etcd       string // its address
	processes  []*process
	stops      []func()
	server     *process
}

// The contexts of the kubeconfig, which are its users, too.
const (
	Admin  = "admin"
	Nobody = "nobody"
)

// shared are the clusters of this process, by their options.
var shared struct {
	sync.Mutex
	clusters map[Options]*Cluster
}

// Main runs the tests of a package, and then ends the clusters that they started.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop ends the clusters that this process started.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	for _, c := range shared.clusters {
		c.Stop()
	}
	clear(shared.clusters)
}

// Start is the package's cluster of that sort, started when the first test asks for it.
func Start(t testing.TB, opt Options) *Cluster {
	t.Helper()
	if os.Getenv(programs) == "" {
		t.Fatal(programs + " names no directory of an API server: use make test-kubernetes, which builds one")
	}
	shared.Lock()
	defer shared.Unlock()
	if c := shared.clusters[opt]; c != nil {
		return c
	}
	c, err := Run(opt)
	if err != nil {
		t.Fatal(err)
	}
	if shared.clusters == nil {
		shared.clusters = map[Options]*Cluster{}
	}
	shared.clusters[opt] = c
	return c
}

// Run starts a cluster, which ends with a call of Stop.
func Run(opt Options) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "kube-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if err := c.start(opt); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// Stop ends what the cluster runs, and removes what it wrote.
func (c *Cluster) Stop() {
	for i := len(c.stops) - 1; i >= 0; i-- {
		c.stops[i]()
	}
	c.stops = nil
	_ = os.RemoveAll(c.dir)
}

func (c *Cluster) start(opt Options) error {
	etcd, err := freeAddress()
	peer, peerErr := freeAddress()
	api, apiErr := freeAddress()
	if err := errors.Join(err, peerErr, apiErr); err != nil {
		return err
	}
	c.etcd = etcd
	if err := c.run("etcd", "--data-dir", c.path("etcd"), "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error",
		"--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd,
		"--listen-peer-urls", "http://"+peer); err != nil {
		return err
	}
	if err := c.serve(etcd, api, opt); err != nil {
		return err
	}
	if opt.Nodes == 0 {
		return nil
	}
	return c.simulate(opt.Nodes)
}

// serve starts the API server and waits until it answers.
func (c *Cluster) serve(etcd, address string, opt Options) error {
	host, port, _ := strings.Cut(address, ":")
	tokens := map[string]string{Admin: rand.Text(), Nobody: rand.Text()}
	if err := c.write("tokens.csv", tokens[Admin]+",admin,admin,system:masters\n"+tokens[Nobody]+",nobody,nobody\n"); err != nil {
		return err
	}
	if err := c.writeKey("service-account.key"); err != nil {
		return err
	}
	args := []string{
		"--etcd-servers", "http://" + etcd, "--bind-address", host, "--secure-port", port, "--advertise-address", host,
		"--cert-dir", c.path("certificates"), "--token-auth-file", c.path("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", c.path("service-account.key"),
		"--service-account-signing-key-file", c.path("service-account.key"), "--service-cluster-ip-range", "10.0.0.0/24",
		"--feature-gates", "WatchList=false", // Debian's etcd is too old for it
	}
	if opt.Nodes == 0 { // nobody makes the service accounts that it wants pods to have
		args = append(args, "--disable-admission-plugins", "ServiceAccount")
	}
	if err := c.run("kube-apiserver", args...); err != nil {
		return err
	}
	c.server, c.token = c.processes[len(c.processes)-1], tokens[Admin]
	c.Server = "https://" + address
	c.Kubeconfig = c.path("kubeconfig")
	return c.await(context.Background(), "the API server", func() error {
		if _, err := os.Stat(c.path("certificates/apiserver.crt")); err != nil {
			return err
		}
		if err := c.write("kubeconfig", c.kubeconfig(tokens)); err != nil {
			return err
		}
		return c.ready()
	})
}

// kubeconfig has a context for each user, of their name.
func (c *Cluster) kubeconfig(tokens map[string]string) string {
	var users, contexts strings.Builder
	for _, user := range slices.Sorted(maps.Keys(tokens)) {
		fmt.Fprintf(&users, "- name: %s\n  user: {token: %q}\n", user, tokens[user])
		fmt.Fprintf(&contexts, "- name: %s\n  context: {cluster: test, user: %s}\n", user, user)
	}
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: %s\nclusters:\n- name: test\n  cluster: {server: %q, certificate-authority: %q}\nusers:\n%scontexts:\n%s",
		Admin, c.Server, c.path("certificates/apiserver.crt"), &users, &contexts)
}

// Place is the cluster as its administrator sees it, in a namespace.
func (c *Cluster) Place(namespace string) kube.Place {
	return kube.Place{Kubeconfig: c.Kubeconfig, Context: Admin, Namespace: namespace}
}

// Open is the connection of the cluster's administrator, in a namespace.
func (c *Cluster) Open(t testing.TB, namespace string) *kube.Cluster {
	t.Helper()
	k, err := kube.Open(c.Place(namespace))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Namespace makes a namespace for the test. It is removed after it, which without
// controllers only marks it.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:10])
	k := c.Open(t, name)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := k.Create(t.Context(), namespace, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// Account is a directory with what a pod of a service account has: its token, and the
// certificate by which it knows the API server.
func (c *Cluster) Account(t testing.TB, namespace, name string) string {
	t.Helper()
	answer, err := c.request(t.Context(), http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token", "application/json",
		[]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest"}`))
	if err != nil {
		t.Fatal(err)
	}
	var request struct{ Status struct{ Token string } }
	if err := json.Unmarshal(answer, &request); err != nil {
		t.Fatal(err)
	}
	certificate, err := os.ReadFile(c.path("certificates/apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, data := range map[string][]byte{"token": []byte(request.Status.Token), "ca.crt": certificate} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// As is the cluster as a service account sees it.
func (c *Cluster) As(t testing.TB, namespace, name string) kube.Place {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(c.Account(t, namespace, name), "token"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(c.kubeconfig(map[string]string{name: string(token)})), 0o600); err != nil {
		t.Fatal(err)
	}
	return kube.Place{Kubeconfig: file, Context: name, Namespace: namespace}
}

// Pause stops the API server from answering until the returned function is called: the
// connections stay, and nothing comes over them.
func (c *Cluster) Pause(t testing.TB) (resume func()) {
	t.Helper()
	resume, err := c.server.pause()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(resume)
	c.Await(t, "the API server stands still", c.server.paused)
	return resume
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

func (c *Cluster) write(name, content string) error {
	return os.WriteFile(c.path(name), []byte(content), 0o600)
}

// Await tries until nothing is missing any more. A test that waits does it with this: it
// ends when that takes too long, or one of the cluster's programs has ended.
func (c *Cluster) Await(t testing.TB, what string, try func() (missing error)) {
	t.Helper()
	if err := c.await(t.Context(), what, try); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) await(ctx context.Context, what string, try func() error) error {
	var missing error
	err := wait.PollUntilContextTimeout(ctx, lookPause, Patience, true, func(context.Context) (bool, error) {
		if missing = try(); missing == nil {
			return true, nil
		}
		return false, c.ended()
	})
	if err != nil {
		return fmt.Errorf("%s: %w (%w)\n%s", what, missing, err, c.processes[len(c.processes)-1].tail())
	}
	return nil
}
