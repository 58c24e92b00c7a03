//go:build unix

package kubetest

import (
	"net"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// Kubelet has the API server ask this address, which speaks TLS, for what the containers of
// all nodes write, at /containerLogs/<namespace>/<pod>/<container>.
func (c *Cluster) Kubelet(t testing.TB, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	status := corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(number)}},
	}
	var nodes corev1.NodeList
	if err := c.Open(t, "").List(t.Context(), &nodes, kube.Selection{Everywhere: true}); err != nil {
		t.Fatal(err)
	}
	for i := range nodes.Items {
		c.Status(t, &nodes.Items[i], map[string]any{"addresses": status.Addresses, "daemonEndpoints": status.DaemonEndpoints})
	}
}

// Evict asks for a pod to leave its node, as who drains that does.
func (c *Cluster) Evict(t testing.TB, namespace, pod string) {
	t.Helper()
	eviction := []byte(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"` + pod + `","namespace":"` + namespace + `"}}`)
	if err := c.post(t.Context(), "/api/v1/namespaces/"+namespace+"/pods/"+pod+"/eviction", eviction); err != nil {
		t.Fatal(err)
	}
}
