package workspace

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// podsOf is the pattern of an object's pods; nil when it has none.
func podsOf(o kube.Object) *corev1.PodTemplateSpec {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *corev1.PodTemplate:
		return &o.Template
	}
	return nil
}

// Everything that talks in the workspace has the certificate, and talks by nothing else; its
// pods are made anew for another one, unless that is somebody else's business.
func TestCertificate(t *testing.T) {
	spec, err := NewSpec(configured(t, ""), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	annotations := func(shared *certificate.Shared) map[string]string {
		spec.Certificate = shared
		list, err := Objects(spec)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, o := range list {
			template := podsOf(o)
			if template == nil {
				continue
			}
			found[o.GetName()] = template.Annotations["modelops.io/certificate"]
			for _, want := range []string{`{"mountPath":"/etc/modelops/tls","name":"tls","readOnly":true}`, `{"name":"tls","secret":{"defaultMode":288,"secretName":"modelops-tls"}}`} {
				if !strings.Contains(text(t, o), want) {
					t.Errorf("%s has no %s", kube.Name(o), want)
				}
			}
			const args = `"--protocol","tls","--tls-ca-file","/etc/modelops/tls/ca.crt","--tls-cert","/etc/modelops/tls/tls.crt","--tls-key","/etc/modelops/tls/tls.key"`
			if _, isDriver := o.(*corev1.PodTemplate); !isDriver && !(strings.Contains(text(t, o), args) && strings.Contains(text(t, o), "REQUIRE_ENCRYPTION")) {
				t.Errorf("%s need not talk TLS", kube.Name(o))
			}
		}
		return found
	}
	one, err := issued()
	if err != nil {
		t.Fatal(err)
	}
	two, err := issue(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	first, second, again, theirs := annotations(one), annotations(two), annotations(one), annotations(nil)
	if diff := cmp.Diff(first, again); diff != "" || len(first) != 3 {
		t.Error(first, diff)
	}
	for name := range first {
		if first[name] == second[name] || first[name] == "" || theirs[name] != "" {
			t.Errorf("%s: %q, %q and %q", name, first[name], second[name], theirs[name])
		}
	}
}

// No container has a right but the one that gives the node's directory away.
func TestRights(t *testing.T) {
	for _, o := range objects(t, configured(t, "")) {
		template := podsOf(o)
		if template == nil {
			continue
		}
		for _, c := range append(template.Spec.InitContainers, template.Spec.Containers...) {
			s := c.SecurityContext
			root := c.Name == "own-cache"
			if *s.RunAsNonRoot == root || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Capabilities.Drop[0] != "ALL" || (len(s.Capabilities.Add) > 0) != root || s.SeccompProfile == nil {
				t.Errorf("%s %s: %+v", kube.Name(o), c.Name, s)
			}
			if !strings.Contains(c.Image, "@sha256:") || c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s %s: %+v", kube.Name(o), c.Name, c)
			}
		}
	}
}

// What selects pods selects those that it is for: the Service and the budget their own, the
// network policy all, those of drivers included.
func TestSelectors(t *testing.T) {
	pods := map[string]labels.Set{}
	selectors := map[string]labels.Selector{}
	selects := func(o kube.Object, s *metav1.LabelSelector) {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		selectors[kube.Name(o)] = selector
	}
	for _, o := range objects(t, configured(t, "")) {
		if template := podsOf(o); template != nil {
			pods[o.GetName()] = template.Labels
		}
		switch o := o.(type) {
		case *appsv1.Deployment:
			selects(o, o.Spec.Selector)
		case *corev1.Service:
			selects(o, &metav1.LabelSelector{MatchLabels: o.Spec.Selector})
		case *policyv1.PodDisruptionBudget:
			selects(o, o.Spec.Selector)
		case *networkingv1.NetworkPolicy:
			selects(o, &o.Spec.PodSelector)
			if diff := cmp.Diff(o.Spec.PodSelector, *o.Spec.Ingress[0].From[0].PodSelector); diff != "" || len(o.Spec.Ingress) != 1 || len(o.Spec.Ingress[0].From) != 1 {
				t.Errorf("others than its own reach them: %s", diff)
			}
		}
	}
	got := map[string]string{}
	for object, selector := range selectors {
		for _, name := range slices.Sorted(maps.Keys(pods)) {
			if selector.Matches(pods[name]) {
				got[object] += " " + name
			}
		}
		if selector.Matches(labels.Set{"app": "somebody's"}) {
			t.Errorf("%s selects what is not the workspace's", object)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"Deployment modelops-scheduler": " modelops-scheduler", "Service modelops-scheduler": " modelops-scheduler",
		"Deployment modelops-worker": " modelops-worker", "PodDisruptionBudget modelops-worker": " modelops-worker",
		"NetworkPolicy modelops-workspace": " modelops-driver modelops-scheduler modelops-worker",
	}, got); diff != "" {
		t.Error(diff)
	}
}
