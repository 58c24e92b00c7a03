//go:build unix && kubernetes

package podjob

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

// The API server takes the Job, strictly, and keeps one for each job: that of the last
// start.
func TestKubernetesStart(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	c, of := In(k), job(jobs.NewID())
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
