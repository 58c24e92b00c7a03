//go:build unix && kubernetes

package kube_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

func settings(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "test"}}, Data: map[string]string{"key": value}}
}

func TestKubernetesApply(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	if version, err := k.Version(t.Context()); err != nil || !strings.HasPrefix(version, "v1.") {
		t.Errorf("%q %v", version, err)
	}
	dry := settings(k.Namespace, "a", "1")
	if err := k.Apply(t.Context(), dry, kube.ApplyOptions{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, k.Get(t.Context(), settings(k.Namespace, "a", "")), contracts.CodeNotFound, `read ConfigMap a`, "")
	if err := k.Apply(t.Context(), settings(k.Namespace, "a", "1"), kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	now := settings(k.Namespace, "a", "")
	if err := k.Get(t.Context(), now); err != nil || now.Data["key"] != "1" || now.UID == "" || now.ManagedFields[0].Manager != kube.FieldManager {
		t.Errorf("%+v %v", now, err)
	}
	again := settings(k.Namespace, "a", "1")
	if err := k.Apply(t.Context(), again, kube.ApplyOptions{}); err != nil || again.ResourceVersion != now.ResourceVersion {
		t.Errorf("the same again is a change: %v", err)
	}
	if err := k.Create(t.Context(), settings(k.Namespace, "a", "1"), kube.ApplyOptions{}); err == nil {
		t.Error("created twice")
	} else {
		wantCode(t, err, contracts.CodeConflict, "already exists", "")
	}
	if err := k.Patch(t.Context(), settings(k.Namespace, "a", ""), []byte(`{"data":{"other":"2"}}`)); err != nil {
		t.Error(err)
	}
	var list corev1.ConfigMapList
	if err := k.List(t.Context(), &list, kube.Selection{Labels: "app=test"}); err != nil || len(list.Items) != 1 || list.Items[0].Data["other"] != "2" {
		t.Errorf("%+v %v", list, err)
	}
	stale := settings(k.Namespace, "a", "")
	stale.UID = "another"
	if _, err := k.Delete(t.Context(), stale); err == nil {
		t.Error("another one of the name is removed")
	}
	for _, want := range []bool{true, false} {
		if found, err := k.Delete(t.Context(), settings(k.Namespace, "a", "")); found != want || err != nil {
			t.Errorf("%v %v", found, err)
		}
	}
}

// What is not valid is refused in the API server's words, with every problem.
func TestKubernetesInvalid(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "Upper", Namespace: k.Namespace}}
	err := k.Create(t.Context(), d, kube.ApplyOptions{})
	wantCode(t, err, contracts.CodeFailed, "Upper", "")
	if e := contracts.AsError(err); len(e.Problems) < 3 {
		t.Errorf("%+v", e.Problems)
	}
	place := cluster.Place(k.Namespace)
	place.Context = kubetest.Nobody
	nobody, err := kube.Open(place)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, nobody.Apply(t.Context(), settings(k.Namespace, "a", "1"), kube.ApplyOptions{}), contracts.CodeDenied, `User "nobody" cannot patch`, "right")
	wantCode(t, k.Apply(t.Context(), settings("no-such-namespace", "a", "1"), kube.ApplyOptions{}), contracts.CodeNotFound, "no-such-namespace", "")
}

// A watch tells what is there, what comes and what goes, also what went while nothing could
// be heard.
func TestKubernetesWatch(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	apply := func(name, value string) {
		t.Helper()
		if err := k.Apply(t.Context(), settings(k.Namespace, name, value), kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	apply("a", "1")
	ctx, cancel := context.WithTimeout(t.Context(), kubetest.Patience)
	defer cancel()
	var heard []string
	for event, err := range k.Watch(ctx, &corev1.ConfigMapList{}, kube.Selection{Labels: "app=test"}) {
		if err != nil {
			t.Fatal(err)
		}
		line := event.Object.GetName()
		if event.Deleted {
			line += " gone"
		}
		heard = append(heard, line)
		switch len(heard) {
		case 1:
			apply("b", "1")
		case 2:
			if _, err := k.Delete(t.Context(), settings(k.Namespace, "a", "")); err != nil {
				t.Fatal(err)
			}
		}
		if len(heard) == 3 {
			break
		}
	}
	if got := strings.Join(heard, ", "); got != "a, b, a gone" {
		t.Error(got)
	}
}

// An API server that hangs ends a call, and only delays a watch.
func TestKubernetesPaused(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	resume := cluster.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := k.Get(ctx, settings(k.Namespace, "a", ""))
	wantCode(t, err, contracts.CodeUnavailable, "does not answer", "")
	if !contracts.AsError(err).Retryable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v", err)
	}
	resume()
	wantCode(t, k.Get(t.Context(), settings(k.Namespace, "a", "")), contracts.CodeNotFound, "", "")
}

// The log of a container is read, and followed; a port of a pod is one of this machine, on
// which there is what listens in every simulated pod: etcd.
func TestKubernetesPod(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 1})
	k := cluster.Open(t, cluster.Namespace(t))
	runPod(t, k, "p")
	cluster.Say(t, "one")
	cluster.Say(t, "two")
	log, err := k.Logs(t.Context(), "p", kube.LogOptions{Tail: 1})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	if err != nil || string(text) != "two\n" {
		t.Errorf("%q %v", text, err)
	}
	_ = log.Close()
	if log, err = k.Logs(t.Context(), "p", kube.LogOptions{Follow: true}); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for _, want := range []string{"one", "two", "three"} {
		if want == "three" {
			cluster.Say(t, want)
		}
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q %v", lines.Text(), lines.Err())
		}
	}
	_ = log.Close()
	_, err = k.Logs(t.Context(), "none", kube.LogOptions{})
	wantCode(t, err, contracts.CodeNotFound, "Pod none", "")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	port, ended := make(chan int, 1), make(chan error, 1)
	go func() { ended <- k.Forward(ctx, "p", 0, 2379, func(local int) { port <- local }) }()
	select {
	case local := <-port:
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health", local))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if _ = response.Body.Close(); err != nil || !strings.Contains(string(body), "health") {
			t.Errorf("%s %v", body, err)
		}
	case err := <-ended:
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantCode(t, k.Forward(t.Context(), "none", 0, 1, nil), contracts.CodeNotFound, "Pod none", "")
}

// runPod makes a pod and waits until it runs.
func runPod(t *testing.T, k *kube.Cluster, name string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: k.Namespace},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}}}
	ctx, cancel := context.WithTimeout(t.Context(), kubetest.Patience)
	defer cancel()
	for range k.Watch(ctx, &corev1.ServiceAccountList{}, kube.Selection{Fields: "metadata.name=default"}) {
		break // the namespace's service account comes a moment after it
	}
	if err := k.Create(ctx, pod, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	for event, err := range k.Watch(ctx, &corev1.PodList{}, kube.Selection{Fields: "metadata.name=" + name}) {
		if p, ok := event.Object.(*corev1.Pod); ok && err == nil && p.Status.Phase == corev1.PodRunning {
			return
		}
	}
	t.Fatal("the pod does not run")
}

// A Job of a simulated cluster runs until it is told how it ended.
func TestKubernetesEnd(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 1})
	k := cluster.Open(t, cluster.Namespace(t))
	for name, code := range map[string]int{"good": 0, "bad": 3} {
		runPod(t, k, name)
		cluster.End(t, k.Namespace, name, code, "")
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: k.Namespace}}
		if err := k.Get(t.Context(), pod); err != nil || (pod.Status.Phase == corev1.PodSucceeded) != (code == 0) {
			t.Errorf("%s: %s %v", name, pod.Status.Phase, err)
		}
	}
}
