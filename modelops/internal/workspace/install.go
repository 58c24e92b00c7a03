package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// Change is what was done, or would be done, with an object.
type Change struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Action string `json:"action"` // create, update, keep, delete
}

// The actions.
const (
	created = "create"
	updated = "update"
	kept    = "keep"
	deleted = "delete"
)

// Options say how objects are put into a cluster.
type Options struct {
	DryRun bool              // judged by the API server, and nothing is changed
	Force  bool              // take over fields that somebody else manages
	Report func(Change)      // told of every change; nil for nobody
	Note   func(line string) // told what is being waited for; nil for nobody
}

// Up makes the cluster have these objects, takes away what an earlier Up put there and this
// one does not have, and waits until the scheduler and the workers are those that were asked
// for. The changes are what was done until an error.
//
// With a dry run in a cluster that has no such namespace, only the namespace is judged by
// the API server: what lies in it cannot be.
func Up(ctx context.Context, c *kube.Cluster, objects []kube.Object, opt Options) ([]Change, error) {
	var changes []Change
	done := func(change Change) {
		changes = append(changes, change)
		if opt.Report != nil {
			opt.Report(change)
		}
	}
	homeless := false
	for _, o := range objects {
		change, err := apply(ctx, c, o, opt, homeless)
		if err != nil {
			return changes, err
		}
		if _, isNamespace := o.(*corev1.Namespace); isNamespace && opt.DryRun && change.Action == created {
			homeless = true
		}
		done(change)
	}
	if !opt.DryRun {
		if err := await(ctx, c, objects, opt); err != nil {
			return changes, err
		}
	}
	if homeless {
		return changes, nil
	}
	stray, err := strays(ctx, c, objects)
	if err != nil {
		return changes, err
	}
	for _, o := range stray {
		if !opt.DryRun {
			if _, err := c.Delete(ctx, o); err != nil {
				return changes, err
			}
		}
		done(changeOf(o, deleted))
	}
	return changes, nil
}

// apply applies one object. homeless says that its namespace is not there.
func apply(ctx context.Context, c *kube.Cluster, o kube.Object, opt Options, homeless bool) (Change, error) {
	change := changeOf(o, created)
	if homeless && o.GetNamespace() != "" {
		return change, nil
	}
	before, err := there(ctx, c, o)
	if notOurs(o, err) {
		return keepNamespace(change, opt), nil
	}
	if err != nil {
		return change, err
	}
	after, ok := o.DeepCopyObject().(kube.Object)
	if !ok {
		panic("an object's copy is one")
	}
	err = c.Apply(ctx, after, kube.ApplyOptions{DryRun: opt.DryRun, Force: opt.Force})
	if before != nil && notOurs(o, err) {
		return keepNamespace(change, opt), nil
	}
	if err != nil {
		return change, withHint(err)
	}
	if before != nil {
		change.Action = updated
		if before.GetResourceVersion() == after.GetResourceVersion() && !differs(before, after) {
			change.Action = kept
		}
	}
	return change, nil
}

// notOurs says whether what failed is a namespace that its users may not look at or change.
// Whether it is there at all shows with the first object in it.
func notOurs(o kube.Object, err error) bool {
	e := contracts.AsError(err)
	_, isNamespace := o.(*corev1.Namespace)
	return isNamespace && e != nil && e.Code == contracts.CodeDenied
}

func keepNamespace(change Change, opt Options) Change {
	if opt.Note != nil {
		opt.Note("the namespace is not yours to change: its labels stay as they are")
	}
	change.Action = kept
	return change
}

// differs is for dry runs, whose objects keep their version: whether anything but the record
// of who manages what is another.
func differs(before, after kube.Object) bool {
	document := func(o kube.Object) map[string]any {
		d := kube.Document(o)
		if meta, ok := d["metadata"].(map[string]any); ok {
			delete(meta, "managedFields")
			delete(meta, "generation")
			delete(meta, "resourceVersion")
		}
		return d
	}
	return fmt.Sprint(document(before)) != fmt.Sprint(document(after)) // maps are printed in order
}

// there is the object as the cluster has it; nil when it does not.
func there(ctx context.Context, c *kube.Cluster, o kube.Object) (kube.Object, error) {
	now, ok := o.DeepCopyObject().(kube.Object)
	if !ok {
		panic("an object's copy is one")
	}
	err := c.Get(ctx, now)
	if e := contracts.AsError(err); e != nil && e.Code == contracts.CodeNotFound {
		return nil, nil
	}
	return now, err
}

// withHint says what to do about what the API server says of an object.
func withHint(err error) error {
	e := contracts.AsError(err)
	if e.Code != contracts.CodeConflict || e.Hint != "" {
		return err
	}
	hinted := *e
	hinted.Hint = "--force takes these fields over"
	return hinted.Because(err)
}

func changeOf(o kube.Object, action string) Change {
	return Change{Kind: kube.Kind(o).Kind, Name: o.GetName(), Action: action}
}

// lists are the kinds that a workspace has had, in this version or an earlier one, in the
// order in which they are taken away.
func lists() []kube.ObjectList {
	return []kube.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &corev1.PodTemplateList{}, &corev1.ServiceList{}, &networkingv1.NetworkPolicyList{},
		&policyv1.PodDisruptionBudgetList{}, &rbacv1.RoleBindingList{}, &rbacv1.RoleList{}, &corev1.ServiceAccountList{},
		&corev1.ConfigMapList{}, &corev1.SecretList{},
	}
}

// strays are the workspace's objects in the cluster that are none of objects.
func strays(ctx context.Context, c *kube.Cluster, objects []kube.Object) ([]kube.Object, error) {
	wanted := map[string]bool{}
	for _, o := range objects {
		wanted[kube.Name(o)] = true
	}
	var found []kube.Object
	for _, list := range lists() {
		if err := c.List(ctx, list, kube.Selection{Labels: workspaceLabel + ",app.kubernetes.io/managed-by=" + kube.FieldManager}); err != nil {
			return nil, err
		}
		for _, o := range kube.Items(list) {
			if !wanted[kube.Name(o)] {
				found = append(found, o)
			}
		}
	}
	return found, nil
}

// rolloutTimeout is how long a Deployment may make no progress: a node has to come first,
// and a large image be pulled.
const rolloutTimeout = 15 * time.Minute

// lookPause is between two looks at what is waited for.
const lookPause = 500 * time.Millisecond

// await waits until the Deployments are as they were asked for.
func await(ctx context.Context, c *kube.Cluster, objects []kube.Object, opt Options) error {
	ctx, cancel := context.WithTimeout(ctx, rolloutTimeout)
	defer cancel()
	for _, o := range objects {
		if d, ok := o.(*appsv1.Deployment); ok {
			if err := awaitDeployment(ctx, c, d, opt.Note); err != nil {
				return err
			}
		}
	}
	return nil
}

func awaitDeployment(ctx context.Context, c *kube.Cluster, asked *appsv1.Deployment, note func(string)) error {
	state := ""
	err := wait.PollUntilContextCancel(ctx, lookPause, true, func(ctx context.Context) (done bool, err error) {
		why, err := unfinished(ctx, c, asked)
		if err != nil {
			return false, unlessItPasses(err)
		}
		if why != "" && why != state && note != nil {
			note(asked.Name + ": " + why)
		}
		state = why
		return why == "", nil
	})
	if err == nil || ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return cause
	}
	return &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision, Retryable: true,
		Message: "Deployment " + asked.Name + " did not come up: " + state + reasons(context.WithoutCancel(ctx), c, asked.Name), Hint: "mops workspace status says how it is; a second up goes on"}
}

// unlessItPasses is nil for what the next look may find mended.
func unlessItPasses(err error) error {
	if contracts.AsError(err).Retryable {
		return nil
	}
	return err
}

// unfinished is what a Deployment lacks; empty when all of its pods are of the version that
// was asked for, and serve, but for those that are going. The Deployment's own count comes
// before its pods: one of the earlier version may be begun when it says that it is done.
func unfinished(ctx context.Context, c *kube.Cluster, asked *appsv1.Deployment) (why string, err error) {
	o, err := there(ctx, c, asked)
	if err != nil {
		return "", err
	}
	now, ok := o.(*appsv1.Deployment)
	if !ok {
		return "", &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision, Message: kube.Name(asked) + " was removed while it was waited for"}
	}
	if why := rollingOut(now); why != "" {
		return why, nil
	}
	pods, err := podsUnder(ctx, c, asked)
	if err != nil {
		return "", err
	}
	for i := range pods {
		if p := &pods[i]; isEarlier(p, asked) && !isGoing(p) {
			return "Pod " + p.Name + " is of an earlier version", nil
		}
	}
	return "", nil
}

// rollingOut is what a Deployment itself says that it lacks.
func rollingOut(d *appsv1.Deployment) string {
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	switch s := d.Status; {
	case s.ObservedGeneration < d.Generation:
		return "it is looked at"
	case s.UpdatedReplicas < wanted:
		return fmt.Sprintf("%d of %d pods are of the new version", s.UpdatedReplicas, wanted)
	case s.Replicas > s.UpdatedReplicas:
		return fmt.Sprintf("%d pods of an earlier version are there", s.Replicas-s.UpdatedReplicas)
	case s.AvailableReplicas < s.UpdatedReplicas:
		return fmt.Sprintf("%d of %d pods run", s.AvailableReplicas, s.UpdatedReplicas)
	}
	return ""
}
