//go:build unix && kubernetes

package podjob

import (
	"os"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

// submitter is the cluster as somebody sees it who has the role of docs/workspace.md for
// those who only submit jobs.
func submitter(t *testing.T, cluster *kubetest.Cluster, admin *kube.Cluster) *kube.Cluster {
	t.Helper()
	page, err := os.ReadFile("../../../../docs/workspace.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\n")
	block, _, _ = strings.Cut(block, "```")
	role := &rbacv1.Role{}
	if err := yaml.UnmarshalStrict([]byte("apiVersion: rbac.authorization.k8s.io/v1\n"+block), role); err != nil || len(role.Rules) == 0 {
		t.Fatalf("%v in %q", err, block)
	}
	const somebody = "somebody"
	role.Namespace = admin.Namespace
	own := metav1.ObjectMeta{Name: somebody, Namespace: admin.Namespace}
	for _, o := range []kube.Object{role, &corev1.ServiceAccount{ObjectMeta: own}, &rbacv1.RoleBinding{ObjectMeta: own,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: somebody, Namespace: admin.Namespace}}}} {
		if err := admin.Create(t.Context(), o, kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	k, err := kube.Open(cluster.As(t, admin.Namespace, somebody))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The API server takes the Job, strictly, from who may do no more than that, and keeps one
// for each job: that of the last start.
func TestKubernetesStart(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	c, of := In(submitter(t, cluster, k)), job(jobs.NewID())
	of.Options.JobTimeout = "90s"
	err := c.Check(t.Context(), of)
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeNotFound || !strings.Contains(e.Message, "PodTemplate modelops-driver") || !strings.Contains(e.Hint, "mops workspace up") {
		t.Fatalf("without a template: %v", err)
	}
	from := template()
	from.Namespace, from.Template.Spec.PriorityClassName = k.Namespace, ""
	if err := k.Apply(t.Context(), from, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	if seen, err := c.Look(t.Context(), ""); err != nil || len(seen) != 0 {
		t.Errorf("after a check there is %+v, %v; want nothing", seen, err)
	}

	uid := ""
	for _, start := range []int{2, 2, 5} {
		if err := c.Start(t.Context(), of, start); err != nil {
			t.Fatal(err)
		}
		seen, err := c.Look(t.Context(), of.ID)
		if err != nil || len(seen) != 1 || seen[of.ID].Start != start || seen[of.ID].Phase != jobs.Waiting {
			t.Fatalf("start %d: %+v, %v", start, seen, err)
		}
		there := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: of.ID, Namespace: k.Namespace}}
		if err := k.Get(t.Context(), there); err != nil {
			t.Fatal(err)
		}
		if same := string(there.UID) == uid; same != (start == 2 && uid != "") {
			t.Errorf("start %d: the same Job as before: %v", start, same)
		}
		uid = string(there.UID)
		if err := c.Check(t.Context(), of); err != nil {
			t.Errorf("checking while there is one: %v", err)
		}
	}
	if seen, err := c.Look(t.Context(), jobs.NewID()); err != nil || len(seen) != 0 {
		t.Errorf("of another job there is %+v, %v", seen, err)
	}
	if err := c.kube.List(t.Context(), &corev1.EventList{}, kube.Selection{}); err != nil {
		t.Error(err) // only so is it said why a pod waits
	}
	if _, err := c.Log(t.Context(), "none", false); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeNotFound {
		t.Errorf("the log of no pod: %v", err)
	}
	for range 2 {
		if err := c.Stop(t.Context(), of.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// Who may do nothing in the cluster is told so.
func TestKubernetesDenied(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	place := cluster.Place(cluster.Namespace(t))
	place.Context = kubetest.Nobody
	k, err := kube.Open(place)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := In(k).Look(t.Context(), ""); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeDenied {
		t.Errorf("looking: %v, want denied", err)
	}
	if err := In(k).Check(t.Context(), job(jobs.NewID())); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeDenied {
		t.Errorf("checking: %v, want denied", err)
	}
}
