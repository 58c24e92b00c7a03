//go:build unix && kubernetes

package workspace

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

// in puts the workspace into a namespace of the test's own.
func in(namespace, line string) string {
	if line == "" {
		return "namespace: " + namespace
	}
	return "namespace: " + namespace + "\n" + line
}

// rendered are objects as they are read from what "render" prints.
func rendered(t *testing.T, list []kube.Object) []kube.Object {
	t.Helper()
	text, err := YAML(Documents(list, true))
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(strings.TrimPrefix(string(text), "---\n"), "---\n")
	if len(documents) != len(list) {
		t.Fatalf("%d documents of %d objects", len(documents), len(list))
	}
	read := slices.Clone(list)
	for i := range read {
		read[i] = reflect.New(reflect.TypeOf(list[i]).Elem()).Interface().(kube.Object)
		if err := yaml.UnmarshalStrict([]byte(documents[i]), read[i]); err != nil {
			t.Fatalf("%s: %v", kube.Name(list[i]), err)
		}
	}
	return read
}

// Every variation of the configuration is judged by the API server, strictly, as rendered.
func TestKubernetesManifests(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	for _, v := range append([]variation{{}}, variations()...) {
		namespace := cluster.Namespace(t)
		line := in(namespace, v.line)
		if strings.HasPrefix(v.line, "namespace:") {
			line = v.line
			namespace = "elsewhere"
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
			if err := cluster.Open(t, "").Apply(t.Context(), ns, kube.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		k := cluster.Open(t, namespace)
		for _, o := range rendered(t, objects(t, configured(t, line))) {
			if err := k.Apply(t.Context(), o, kube.ApplyOptions{DryRun: true}); err != nil {
				t.Errorf("%s: %v", v.line, err)
			}
		}
	}
}

// The pods of a workspace without directories of nodes keep to the standard "restricted",
// which the API server enforces where the namespace says so; those with one do not.
func TestKubernetesRestricted(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	for line, allowed := range map[string]bool{"cache: pod": true, "cache: node": false} {
		k := cluster.Open(t, cluster.Namespace(t))
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: k.Namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
		if err := k.Apply(t.Context(), ns, kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, o := range objects(t, configured(t, in(k.Namespace, line))) {
			template := podsOf(o)
			if template == nil {
				continue
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), Namespace: k.Namespace, Labels: template.Labels}, Spec: template.Spec}
			err := k.Create(t.Context(), pod, kube.ApplyOptions{DryRun: true})
			if fine := allowed || o.GetName() != Worker; fine != (err == nil) {
				t.Errorf("%s, %s: %v", line, o.GetName(), err)
			}
		}
	}
}

// up is [Up] without waiting: nothing rolls out where there are no controllers.
func up(t *testing.T, k *kube.Cluster, list []kube.Object, opt Options) ([]Change, error) {
	t.Helper()
	return Up(t.Context(), k, list, opt)
}

func actions(changes []Change) map[string]int {
	counts := map[string]int{}
	for _, change := range changes {
		counts[change.Action]++
	}
	return counts
}

// A workspace on a simulated cluster: made, found as it was asked for, made again without a
// change, changed, pruned, and taken away.
func TestKubernetesWorkspace(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 2})
	k := cluster.Open(t, "modelops-dask-dev")
	list := objects(t, configured(t, ""))

	changes, err := up(t, k, list, Options{DryRun: true})
	if err != nil || actions(changes)[created] != len(list) {
		t.Fatal(changes, err)
	}
	if now, err := there(t.Context(), k, list[0]); now != nil || err != nil {
		t.Fatalf("a dry run made %v %v", now, err)
	}
	if changes, err = up(t, k, list, Options{}); err != nil || actions(changes)[created] != len(list) {
		t.Fatal(changes, err)
	}
	state, err := Status(t.Context(), k, list, &Held{})
	if err != nil || !state.Installed || len(state.Stale) > 0 || len(state.Components) != 2 || state.Components[1].Running != 1 {
		t.Fatalf("%+v %v", state, err)
	}
	if changes, err = up(t, k, list, Options{}); err != nil || actions(changes)[kept] != len(list) {
		t.Errorf("again: %v %v", changes, err)
	}

	// The scheduler's number of workers is its own.
	scale := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: Worker, Namespace: k.Namespace}}
	if err := k.Patch(t.Context(), scale, []byte(`{"spec":{"replicas":3}}`)); err != nil {
		t.Fatal(err)
	}
	const newer = "registry.example.org/modelops-worker@sha256:5555555555555555555555555555555555555555555555555555555555555555"
	next := objects(t, configured(t, "worker_image: "+newer+"\nnetwork_policy: false"))
	if state, err = Status(t.Context(), k, next, &Held{}); err != nil || !slices.ContainsFunc(state.Stale, func(s string) bool { return strings.Contains(s, workerImage) }) {
		t.Errorf("%+v %v", state, err)
	}
	if changes, err = up(t, k, next, Options{}); err != nil || actions(changes)[deleted] != 1 || actions(changes)[updated] != 1 {
		t.Errorf("%v %v", changes, err)
	}
	if state, err = Status(t.Context(), k, next, &Held{}); err != nil || len(state.Stale) > 0 || state.Components[1].Running != 3 || state.Components[1].Image != newer {
		t.Errorf("%+v %v", state, err)
	}
	stranger(t, k)

	changes, err = Down(t.Context(), k, Options{})
	if err != nil || changes[len(changes)-1] != (Change{"Namespace", "modelops-dask-dev", deleted}) {
		t.Fatal(changes, err)
	}
	if err := Gone(t.Context(), k, changes); err != nil {
		t.Error(err)
	}
}

// stranger makes sure that what somebody else put into the namespace stays when "up" prunes,
// and that a field which somebody else manages is not taken over unasked.
func stranger(t *testing.T, k *kube.Cluster) {
	t.Helper()
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Namespace: k.Namespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "modelops"}}}
	if err := k.Create(t.Context(), theirs, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: Scheduler, Namespace: k.Namespace}}
	if err := k.Patch(t.Context(), service, []byte(`{"spec":{"selector":{"modelops.io/component":"other"}}}`)); err != nil {
		t.Fatal(err)
	}
	list := objects(t, configured(t, "network_policy: false"))
	_, err := up(t, k, list, Options{})
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Hint, "--force") {
		t.Errorf("%+v", e)
	}
	if _, err := up(t, k, list, Options{Force: true}); err != nil {
		t.Error(err)
	}
	if err := k.Get(t.Context(), theirs); err != nil {
		t.Error(err)
	}
}

// What keeps a pod from a node is said in the cluster's words.
func TestKubernetesStuck(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 2})
	k := cluster.Open(t, cluster.Namespace(t))
	ctx, enough := context.WithCancelCause(t.Context())
	defer enough(nil)
	list := objects(t, configured(t, in(k.Namespace, "node_selector: {missing: such}")))
	waits, up := make(chan string, 16), make(chan error, 1)
	go func() {
		_, err := Up(ctx, k, list, Options{Note: func(line string) { waits <- line }})
		up <- err
	}()
	select {
	case <-waits:
	case err := <-up:
		t.Fatal("it does not wait: ", err)
	}
	cluster.Await(t, "a scheduler that no node takes", func() error {
		if why := reasons(t.Context(), k, Scheduler); why == "" {
			return errors.New("its pod says nothing")
		}
		return nil
	})
	enough(context.DeadlineExceeded)
	e := contracts.AsError(<-up)
	if e == nil || e.Code != contracts.CodeUnavailable || !strings.Contains(e.Message, "node affinity/selector") {
		t.Errorf("%+v", e)
	}
}

// "up" does not end while there is a pod of an earlier version that is not going, whatever
// the Deployment says of itself. Here the test is the controllers.
func TestKubernetesEarlierPod(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	list := objects(t, configured(t, in(k.Namespace, "")))
	notes, up := make(chan string, 16), make(chan error, 1)
	go func() {
		_, err := Up(t.Context(), k, list, Options{Note: func(line string) { notes <- line }})
		up <- err
	}()
	told := func(want string) {
		t.Helper()
		for {
			select {
			case line := <-notes:
				if strings.Contains(line, want) {
					return
				}
			case err := <-up:
				t.Fatalf("it ended without saying %q: %v", want, err)
			case <-time.After(kubetest.Patience):
				t.Fatalf("it does not say %q", want)
			}
		}
	}
	finish := func(d *appsv1.Deployment) {
		t.Helper()
		if err := k.Get(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		cluster.Status(t, d, appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1})
	}
	named := func(name string) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: k.Namespace}}
	}
	pod := func(name, version string) *corev1.Pod {
		t.Helper()
		d := named(Worker)
		if err := k.Get(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: k.Namespace, Labels: d.Spec.Template.Labels, Annotations: map[string]string{versionAnnotation: version}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: workerImage}}}}
		if version == "" {
			p.Annotations = d.Spec.Template.Annotations
		}
		if err := k.Create(t.Context(), p, kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	told(Scheduler + ": it is looked at")
	pod("new", "")
	ended := pod("ended", "earlier")
	cluster.Status(t, ended, corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"})
	old := pod("old", "earlier")
	finish(named(Scheduler))
	finish(named(Worker))
	told("Pod old is of an earlier version")
	state, err := Status(t.Context(), k, list, &Held{})
	if err != nil || !slices.ContainsFunc(state.Stale, func(s string) bool { return strings.HasPrefix(s, "Pod old ") }) || slices.ContainsFunc(state.Stale, func(s string) bool { return strings.HasPrefix(s, "Pod ended ") }) {
		t.Errorf("%+v %v", state, err)
	}
	if _, err := k.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if err := <-up; err != nil {
		t.Error(err)
	}
}

// Who owns a namespace, and not the cluster, has a workspace in it, and its labels stay.
func TestKubernetesOwnNamespace(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 2})
	admin := cluster.Open(t, cluster.Namespace(t))
	s := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: admin.Namespace} }
	for _, o := range []kube.Object{
		&corev1.ServiceAccount{ObjectMeta: s("owner")},
		&rbacv1.Role{ObjectMeta: s("templates"), Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"podtemplates"}, Verbs: []string{"*"}}}},
		&rbacv1.RoleBinding{ObjectMeta: s("templates"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "templates"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "owner", Namespace: admin.Namespace}}},
		&rbacv1.RoleBinding{ObjectMeta: s("admin"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "owner", Namespace: admin.Namespace}}},
	} {
		if err := admin.Create(t.Context(), o, kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := kube.Open(cluster.As(t, admin.Namespace, "owner"))
	if err != nil {
		t.Fatal(err)
	}
	list := objects(t, configured(t, "namespace: "+admin.Namespace))
	changes, err := up(t, owner, list, Options{})
	if err != nil || changes[0] != (Change{"Namespace", admin.Namespace, kept}) {
		t.Fatal(changes, err)
	}
	changes, err = Down(t.Context(), owner, Options{})
	if err != nil || len(changes) != len(list)-1 {
		t.Error(changes, err)
	}
	if now, err := there(t.Context(), owner, list[0]); now == nil || err != nil {
		t.Error("the namespace is gone", err)
	}
}
