//go:build unix

package kubetest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// simulate starts the controllers, the scheduler, and nodes on which pods seem to run.
func (c *Cluster) simulate(nodes int) error {
	kubeconfig := []string{"--kubeconfig", c.Kubeconfig}
	if err := c.run("kube-controller-manager", append(kubeconfig, "--leader-elect=false", "--secure-port", "0", "--use-service-account-credentials",
		"--service-account-private-key-file", c.path("service-account.key"), "--root-ca-file", c.path("certificates/apiserver.crt"),
		"--node-monitor-grace-period", "20s")...); err != nil {
		return err
	}
	if err := c.run("kube-scheduler", append(kubeconfig, "--leader-elect=false", "--secure-port", "0")...); err != nil {
		return err
	}
	if err := c.startNodes(kubeconfig); err != nil {
		return err
	}
	k, err := kube.Open(c.Place(""))
	if err != nil {
		return err
	}
	for i := range nodes {
		if err := k.Create(context.Background(), node(i), kube.ApplyOptions{}); err != nil {
			return err
		}
	}
	return c.await(context.Background(), "the simulated nodes", func() error {
		var list corev1.NodeList
		if err := k.List(context.Background(), &list, kube.Selection{Everywhere: true}); err != nil {
			return err
		}
		for _, n := range list.Items {
			if !isReady(&n) {
				return fmt.Errorf("node %s is not ready", n.Name)
			}
		}
		// Pods need the service account that the controllers make, and people the roles
		// that they put together.
		admin := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "admin"}}
		if err := k.Get(context.Background(), admin); err != nil || len(admin.Rules) == 0 {
			return errors.Join(err, errors.New("the role admin is empty"))
		}
		return k.Get(context.Background(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "default"}})
	})
}

// startNodes starts what stands for the kubelets of all nodes: to the API server, too, which
// asks them for logs and has them forward ports.
func (c *Cluster) startNodes(kubeconfig []string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(address, ":")
	log := c.path("pods.txt")
	etcdHost, etcdPort, _ := strings.Cut(c.etcd, ":")
	if err := errors.Join(c.write("pods.txt", ""), c.write("kwok.yaml", stages+fmt.Sprintf(`---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata: {name: all}
spec: {logs: [{logsFile: %q, follow: true}]}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterPortForward
metadata: {name: all}
spec: {forwards: [{target: {address: %s, port: %s}}]}
`, log, etcdHost, etcdPort))); err != nil {
		return err
	}
	return c.run("kwok", append(kubeconfig, "--config", c.path("kwok.yaml"), "--manage-all-nodes", "--node-lease-duration-seconds", "20",
		"--server-address", address, "--node-ip", host, "--node-port", port,
		"--tls-cert-file", c.path("certificates/apiserver.crt"), "--tls-private-key-file", c.path("certificates/apiserver.key"))...)
}

// Say adds a line to the log of every pod.
func (c *Cluster) Say(t testing.TB, line string) {
	t.Helper()
	file, err := os.OpenFile(c.path("pods.txt"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(file, "%s stdout F %s\n", time.Now().UTC().Format(time.RFC3339Nano), line) // as a container runtime writes it
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

func isReady(n *corev1.Node) bool {
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func node(i int) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-" + strconv.Itoa(i), Labels: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
	}
}

// stages are what becomes of nodes and pods, for kwok.
//
//go:embed simulation.yaml
var stages string

// End makes the containers of a pod end, as the kubelet would say it: with an exit code,
// and the node's reason where there is one, as in Evicted or OOMKilled.
func (c *Cluster) End(t testing.TB, namespace, pod string, code int, reason string) {
	t.Helper()
	k := c.Open(t, namespace)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: namespace}}
	if err := k.Get(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	status := p.Status.DeepCopy()
	status.Phase = corev1.PodFailed
	if code == 0 {
		status.Phase = corev1.PodSucceeded
	}
	status.Conditions = nil
	if reason == "Evicted" {
		status.Reason, status.Message = reason, "The node was low on resource: memory."
	}
	now := metav1.Now()
	for i := range status.ContainerStatuses {
		s := &status.ContainerStatuses[i]
		s.Ready, s.Started = false, new(bool)
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), Reason: reason, StartedAt: now, FinishedAt: now}}
	}
	c.Status(t, p, status)
}

// Status sets what the cluster says of an object, as its controllers or the kubelet would.
func (c *Cluster) Status(t testing.TB, o kube.Object, status any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	kind := kube.Kind(o)
	place := "/apis/" + kind.Group + "/" + kind.Version
	if kind.Group == "" {
		place = "/api/" + kind.Version
	}
	if o.GetNamespace() != "" {
		place += "/namespaces/" + o.GetNamespace()
	}
	resource, _ := meta.UnsafeGuessKindToResource(kind) // right for those that the suite uses
	if err := c.patch(t.Context(), place+"/"+resource.Resource+"/"+o.GetName()+"/status", patch); err != nil {
		t.Fatal(err)
	}
}
