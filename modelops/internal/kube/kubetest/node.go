//go:build unix

package kubetest

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// simulate starts the controllers, the scheduler, and nodes on which pods seem to run.
func (c *Cluster) simulate(nodes int) error {
	kubeconfig := []string{"--kubeconfig", c.Kubeconfig}
	if err := c.run("kube-controller-manager", append(kubeconfig, "--leader-elect=false", "--secure-port", "0", "--use-service-account-credentials",
		"--service-account-private-key-file", c.path("service-account.key"), "--root-ca-file", c.path("certificates/apiserver.crt"),
		"--node-monitor-grace-period", "10s")...); err != nil {
		return err
	}
	if err := c.run("kube-scheduler", append(kubeconfig, "--leader-elect=false", "--secure-port", "0")...); err != nil {
		return err
	}
	if err := c.write("kwok.yaml", stages); err != nil {
		return err
	}
	if err := c.run("kwok", append(kubeconfig, "--config", c.path("kwok.yaml"), "--manage-all-nodes", "--node-lease-duration-seconds", "8", "--server-address", "127.0.0.1:0")...); err != nil {
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
	return c.await("the simulated nodes", func() error {
		var list corev1.NodeList
		if err := k.List(context.Background(), &list, kube.Selection{Everywhere: true}); err != nil {
			return err
		}
		for _, n := range list.Items {
			if !isReady(&n) {
				return fmt.Errorf("node %s is not ready", n.Name)
			}
		}
		// Pods need the service account that the controllers make.
		return k.Get(context.Background(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "default"}})
	})
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
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("16"), corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("500Gi"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-" + strconv.Itoa(i), Labels: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
		Status:     corev1.NodeStatus{Allocatable: room, Capacity: room},
	}
}

// stages are what becomes of pods, for kwok; what becomes of nodes is its own.
//
//go:embed pods.yaml
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
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.patch(t.Context(), "/api/v1/namespaces/"+namespace+"/pods/"+pod+"/status", patch); err != nil {
		t.Fatal(err)
	}
}
