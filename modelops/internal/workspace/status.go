package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// State is what runs, against what was asked for.
type State struct {
	Namespace   string      `json:"namespace"`
	Installed   bool        `json:"installed"`
	Components  []Component `json:"components"`
	Certificate *Held       `json:"certificate"`
	Stale       []string    `json:"stale"` // what is not as it was asked for, or soon is not, in words
}

// Component is the scheduler or the workers.
type Component struct {
	Name    string `json:"name"`
	Image   string `json:"image"`   // that was asked for
	Wanted  int32  `json:"wanted"`  // pods, by the scheduler for workers
	Running int32  `json:"running"` // that serve
	Pods    []Pod  `json:"pods"`
}

// Pod is one pod of a component.
type Pod struct {
	Name    string `json:"name"`
	Node    string `json:"node,omitempty"`
	Phase   string `json:"phase"`
	Digest  string `json:"digest,omitempty"`        // of the image that runs
	Version string `json:"bundle_worker,omitempty"` // the version of bundle-worker in it
	Speaks  string `json:"contract,omitempty"`      // the version of the contract that it speaks
	Why     string `json:"message,omitempty"`       // why it does not run
	Earlier bool   `json:"earlier,omitempty"`       // it was begun as something else was asked for
	Leaving bool   `json:"leaving,omitempty"`       // it finishes what it runs, and goes; or has ended
	Current bool   `json:"current"`                 // it is what was asked for
}

// Status looks at the workspace that the objects are of, which has this certificate.
func Status(ctx context.Context, c *kube.Cluster, objects []kube.Object, held *Held) (*State, error) {
	state := &State{Namespace: c.Namespace, Components: []Component{}, Certificate: held, Stale: append([]string{}, held.Words()...)}
	for _, o := range objects {
		now, err := there(ctx, c, o)
		if notOurs(o, err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if now == nil {
			state.Stale = append(state.Stale, kube.Name(o)+" is not there")
			continue
		}
		asked, ok := o.(*appsv1.Deployment)
		if !ok {
			if stale, err := isStale(ctx, c, o, now); err != nil {
				return nil, err
			} else if stale {
				state.Stale = append(state.Stale, kube.Name(o)+" is not what the configuration says")
			}
			continue
		}
		state.Installed = true
		component, stale, err := look(ctx, c, asked, now)
		if err != nil {
			return nil, err
		}
		state.Components = append(state.Components, *component)
		state.Stale = append(state.Stale, stale...)
	}
	return state, nil
}

// isStale says whether applying the object would change it.
func isStale(ctx context.Context, c *kube.Cluster, o, now kube.Object) (bool, error) {
	after, ok := o.DeepCopyObject().(kube.Object)
	if !ok {
		panic("an object's copy is one")
	}
	err := c.Apply(ctx, after, kube.ApplyOptions{DryRun: true, Force: true})
	if e := contracts.AsError(err); e != nil && e.Code == contracts.CodeDenied { // who only looks may not try
		return false, nil
	}
	return err == nil && differs(now, after), err
}

// look compares a Deployment and its pods with what was asked for.
func look(ctx context.Context, c *kube.Cluster, asked *appsv1.Deployment, o kube.Object) (*Component, []string, error) {
	now, ok := o.(*appsv1.Deployment)
	if !ok {
		panic("what is read is of the kind that was asked for")
	}
	image := asked.Spec.Template.Spec.Containers[0].Image
	component := &Component{Name: asked.Name, Image: image, Wanted: 1, Pods: []Pod{}}
	if now.Spec.Replicas != nil {
		component.Wanted = *now.Spec.Replicas
	}
	var stale []string
	if applied := now.Spec.Template.Spec.Containers[0].Image; applied != image {
		stale = append(stale, fmt.Sprintf("Deployment %s has %s, and the configuration %s", asked.Name, applied, image))
	} else if changed, err := isStale(ctx, c, asked, now); err != nil {
		return nil, nil, err
	} else if changed {
		stale = append(stale, kube.Name(asked)+" is not what the configuration says")
	}
	pods, err := podsUnder(ctx, c, asked)
	if err != nil {
		return nil, nil, err
	}
	for i := range pods {
		pod := podOf(&pods[i], asked)
		component.Pods = append(component.Pods, pod)
		if serves(&pods[i]) {
			component.Running++
		}
		stale = append(stale, pod.stale()...)
	}
	return component, stale, nil
}

// podsUnder are the pods of a Deployment.
func podsUnder(ctx context.Context, c *kube.Cluster, d *appsv1.Deployment) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, kube.Selection{Labels: metav1.FormatLabelSelector(d.Spec.Selector)})
	return pods.Items, err
}

// isEarlier says whether a pod was made of something else than what is asked for now.
func isEarlier(p *corev1.Pod, asked *appsv1.Deployment) bool {
	return p.Annotations[versionAnnotation] != asked.Spec.Template.Annotations[versionAnnotation]
}

// isGoing says whether a pod counts no more.
func isGoing(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// stale says what of a pod is not as it was asked for.
func (p Pod) stale() (words []string) {
	switch {
	case p.Leaving:
	case p.Earlier && p.Digest != "":
		words = append(words, fmt.Sprintf("Pod %s is of an earlier version, and runs %s", p.Name, p.Digest))
	case !p.Current:
		words = append(words, fmt.Sprintf("Pod %s runs %s", p.Name, orNothing(p.Digest)))
	}
	if major, _, _ := strings.Cut(contracts.ContractVersion, "."); p.Speaks != "" && !strings.HasPrefix(p.Speaks, major+".") {
		words = append(words, fmt.Sprintf("Pod %s has bundle-worker %s, which speaks contract %s, and this program %s", p.Name, p.Version, p.Speaks, contracts.ContractVersion))
	}
	return words
}

// serves says whether a pod does what it is there for. The Deployment's own count lags.
func serves(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func orNothing(digest string) string {
	if digest == "" {
		return "nothing yet"
	}
	return digest
}

// podOf says how a pod is, of a Deployment as it is asked for.
func podOf(p *corev1.Pod, asked *appsv1.Deployment) Pod {
	pod := Pod{Name: p.Name, Node: p.Spec.NodeName, Phase: string(p.Status.Phase), Earlier: isEarlier(p, asked), Leaving: isGoing(p), Why: whyNot(p)}
	for _, status := range p.Status.ContainerStatuses {
		_, pod.Digest, _ = strings.Cut(status.ImageID, "@")
	}
	for _, status := range p.Status.InitContainerStatuses {
		var version struct{ Version, Contract string }
		if ended := status.State.Terminated; ended != nil && json.Unmarshal([]byte(ended.Message), &version) == nil {
			pod.Version, pod.Speaks = version.Version, version.Contract
		}
	}
	_, wanted, _ := strings.Cut(asked.Spec.Template.Spec.Containers[0].Image, "@")
	pod.Current = pod.Digest == wanted && !pod.Earlier
	return pod
}

// whyNot is what keeps a pod from running, in the cluster's words.
func whyNot(p *corev1.Pod) string {
	for _, status := range append(p.Status.InitContainerStatuses[:len(p.Status.InitContainerStatuses):len(p.Status.InitContainerStatuses)], p.Status.ContainerStatuses...) {
		if waiting := status.State.Waiting; waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing" && waiting.Reason != "ContainerCreating" {
			return strings.TrimSpace(waiting.Reason + ": " + waiting.Message)
		}
		if ended := status.State.Terminated; ended != nil && ended.ExitCode != 0 {
			return fmt.Sprintf("%s ended with %d: %s", status.Name, ended.ExitCode, strings.TrimSpace(ended.Reason+" "+ended.Message))
		}
	}
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return condition.Message
		}
	}
	return p.Status.Message
}

// reasons are what keeps a Deployment's pods from running, for a message.
func reasons(ctx context.Context, c *kube.Cluster, name string) string {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, kube.Selection{Labels: "app.kubernetes.io/name=" + name}); err != nil {
		return ""
	}
	for i := range pods.Items {
		if why := whyNot(&pods.Items[i]); why != "" {
			return "; Pod " + pods.Items[i].Name + ": " + why
		}
	}
	return ""
}
