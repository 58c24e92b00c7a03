//go:build unix && kubernetes

package workspace

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

// certifying is a workspace's certificate in a cluster without controllers.
type certifying struct {
	t    *testing.T
	k    *kube.Cluster
	spec Spec
}

func newCertifying(t *testing.T) *certifying {
	t.Helper()
	cluster := kubetest.Start(t, kubetest.Options{})
	k := cluster.Open(t, cluster.Namespace(t))
	spec, err := NewSpec(configured(t, "namespace: "+k.Namespace), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	return &certifying{t, k, spec}
}

// certified is what "up" does about the certificate at a time.
func (c *certifying) certified(at time.Time, asked bool) (*certificate.Shared, *Held) {
	c.t.Helper()
	held, err := c.spec.Certify(c.t.Context(), c.k, at)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.spec.Renew(held, at, asked); err != nil {
		c.t.Fatal(err)
	}
	return c.spec.Certificate, held
}

func (c *certifying) apply(o kube.Object) {
	c.t.Helper()
	applied, ok := o.DeepCopyObject().(kube.Object)
	if !ok {
		c.t.Fatal("an object's copy is one")
	}
	applied.GetObjectKind().SetGroupVersionKind(kube.Kind(o))
	if err := c.k.Apply(c.t.Context(), applied, kube.ApplyOptions{Force: true}); err != nil {
		c.t.Fatal(err)
	}
}

// pod is one with the workspace's labels, such as a driver's, that begins now.
func (c *certifying) pod(name, component string) *corev1.Pod {
	c.t.Helper()
	template := c.spec.driver("digest").Template
	template.Spec.ServiceAccountName, template.Labels[ComponentLabel] = "", component
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.k.Namespace, Labels: template.Labels}, Spec: template.Spec}
	if err := c.k.Create(c.t.Context(), pod, kube.ApplyOptions{}); err != nil {
		c.t.Fatal(err)
	}
	return pod
}

// says makes sure that there are words for each that is wanted, and no others.
func (c *certifying) says(what string, held *Held, want ...string) {
	c.t.Helper()
	words := held.Words()
	for i := range want {
		if len(words) != len(want) || !strings.Contains(words[i], want[i]) {
			c.t.Errorf("%s: it says %q, want %q", what, words, want)
			return
		}
	}
	if len(words) != len(want) {
		c.t.Errorf("%s: it says %q", what, words)
	}
}

// The certificate in the cluster is kept while it is good, also by somebody else who asks;
// one that is damaged is replaced, and one that soon ends when nobody but scheduler and
// workers talks by it, or when that is asked for. Which jobs it costs something is said, and
// which pods have to begin anew.
func TestKubernetesCertificate(t *testing.T) {
	c := newCertifying(t)
	now := time.Now()
	due := now.Add(certifiedFor - renewBefore + time.Hour)
	first, held := c.certified(now, false)
	if again, _ := c.certified(now, false); cmp.Diff(first, again) == "" {
		t.Error("what is nowhere is the same twice")
	}
	c.says("a new one", held)
	c.apply(c.spec.certificate(first))
	kept, held := c.certified(now.Add(certifiedFor-renewBefore-time.Hour), false)
	if diff := cmp.Diff(first, kept); diff != "" || !held.Good || held.Until.Sub(now.Add(certifiedFor)).Abs() > time.Minute {
		t.Errorf("one that is good is not kept: %s %+v", diff, held)
	}
	c.says("a good one", held)
	renewed, held := c.certified(due, false)
	if cmp.Diff(first, renewed) == "" {
		t.Error("one that soon ends is kept")
	}
	c.says("without users", held)

	c.pod("w-1", "worker")
	if renewed, held = c.certified(due, false); cmp.Diff(first, renewed) == "" {
		t.Error("one that soon ends is kept for a worker")
	}
	c.says("with a worker", held)
	c.pod("job-1", "driver")
	c.pod("notebook", "")
	kept, held = c.certified(due, false)
	if diff := cmp.Diff(first, kept); diff != "" {
		t.Error("one that soon ends is replaced while a driver talks by it: ", diff)
	}
	c.says("with users", held, " ends on "+now.Add(certifiedFor).UTC().Format(time.DateOnly)+", and is not renewed while these use it: Pod job-1, Pod notebook. ")
	const job, other = "run begins again, and they go on within minutes, or are to be resumed: Pod job-1", "Pod notebook has an earlier certificate than Secret modelops-tls, and has to begin anew: kubectl delete pod notebook --namespace test-"
	renewed, held = c.certified(due, true)
	if cmp.Diff(first, renewed) == "" {
		t.Error("it is not renewed when that is asked for")
	}
	c.says("renewed all the same", held, job, other)

	later, err := issue(now.Add(time.Minute)) // than the pods began
	if err != nil {
		t.Fatal(err)
	}
	c.apply(c.spec.certificate(later))
	held, err = c.spec.Certify(t.Context(), c.k, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c.says("found renewed", held, other)
	state, err := Status(t.Context(), c.k, nil, held)
	if err != nil || cmp.Diff(held.Words(), state.Stale) != "" {
		t.Errorf("status does not say so: %+v %v", state, err)
	}

	damaged := *first
	damaged.Certificate = []byte("damaged")
	c.apply(c.spec.certificate(&damaged))
	if held, err = c.spec.Certify(t.Context(), c.k, now); err != nil {
		t.Fatal(err)
	}
	c.says("damaged", held, "is damaged, or has ended: mops workspace up makes another")
	renewed, held = c.certified(now, false)
	if cmp.Diff(&damaged, renewed) == "" {
		t.Error("a damaged one is kept")
	}
	c.says("damaged and renewed", held, job, other)
	if _, err := c.k.Delete(t.Context(), c.spec.certificate(first)); err != nil {
		t.Fatal(err)
	}
	if held, err = c.spec.Certify(t.Context(), c.k, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c.says("removed", held, other)
	_, held = c.certified(now.Add(time.Minute), false)
	c.says("removed and made again", held, job, other)
}

// The certificate that others put into the cluster is theirs: it is never replaced, and what
// there is to be known of it is said.
func TestKubernetesTheirCertificate(t *testing.T) {
	c := newCertifying(t)
	now := time.Now()
	theirs, err := NewCertificate(c.spec, now)
	if err != nil {
		t.Fatal(err)
	}
	c.apply(theirs)
	if shared, held := c.certified(now.Add(certifiedFor-renewBefore+time.Hour), false); shared != nil {
		t.Error("somebody else's certificate is replaced")
	} else {
		c.says("with a year to go", held)
	}
	_, held := c.certified(now.Add(certifiedFor-time.Hour), false)
	c.says("with an hour to go", held, "ends on "+now.Add(certifiedFor).UTC().Format(time.DateOnly)+": it is renewed by who made it")
	list, err := Objects(c.spec) // as those have them who apply them otherwise
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		c.apply(o)
	}
	_, held = c.certified(now, false)
	if state, err := Status(t.Context(), c.k, list, held); err != nil || !state.Installed || len(state.Stale) > 0 {
		t.Errorf("rendered and applied, it is %+v, %v", state, err)
	}
	if stray, err := strays(t.Context(), c.k, list); err != nil || len(stray) > 0 {
		t.Error(stray, err)
	}
	for name, at := range map[string]struct {
		time  time.Time
		asked bool
		want  string
	}{
		"ended": {now.Add(certifiedFor + time.Hour), false, "no certificate with key and authority that is good now"},
		"asked": {now, true, "is renewed by who made it"},
	} {
		if held, err = c.spec.Certify(t.Context(), c.k, at.time); err != nil {
			t.Fatal(err)
		}
		if name == "ended" {
			c.says(name, held, "is damaged, or has ended: it is renewed by who made it")
		}
		err := c.spec.Renew(held, at.time, at.asked)
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeConflict || !strings.Contains(e.Message, at.want) || !strings.Contains(e.Hint, "kubectl delete secret modelops-tls") {
			t.Errorf("%s: %+v", name, err)
		}
	}

	c.pod("w-1", "worker")
	c.pod("job-1", "driver")
	later, err := NewCertificate(c.spec, now.Add(certificate.ClockSlack+time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	c.apply(later)
	_, held = c.certified(now.Add(2*time.Hour), false)
	c.says("renewed by who made it", held, "Pod w-1 has an earlier certificate")
}
