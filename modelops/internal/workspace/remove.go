package workspace

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// removeTimeout is how long a namespace may take to go.
const removeTimeout = 10 * time.Minute

// Down takes the workspace away: what "up" put into the namespace, and the namespace with
// all that is in it when it is one that "up" made. Workers get no time to finish. What is
// in the registry, in the storage and in the nodes' caches stays.
func Down(ctx context.Context, c *kube.Cluster, opt Options) ([]Change, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	changes := []Change{}
	now, err := there(ctx, c, namespace)
	mayNot := notOurs(namespace, err)
	if !mayNot && (err != nil || now == nil) {
		return changes, err
	}
	found, err := strays(ctx, c, nil)
	if err != nil {
		return changes, err
	}
	if !mayNot && now.GetLabels()[workspaceLabel] != "" {
		found = append(found, now)
	}
	for _, o := range found {
		if !opt.DryRun {
			if _, err := c.Delete(ctx, o); err != nil {
				return changes, err
			}
		}
		change := changeOf(o, deleted)
		changes = append(changes, change)
		if opt.Report != nil {
			opt.Report(change)
		}
	}
	return changes, nil
}

// Gone waits until the namespace is gone, where Down removed it: until then no other one of its name can be made.
func Gone(ctx context.Context, c *kube.Cluster, changes []Change) error {
	if !slices.ContainsFunc(changes, func(change Change) bool { return change.Kind == "Namespace" }) {
		return nil
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	err := wait.PollUntilContextTimeout(ctx, lookPause, removeTimeout, true, func(ctx context.Context) (gone bool, err error) {
		now, err := there(ctx, c, namespace)
		if err != nil {
			return false, unlessItPasses(err)
		}
		return now == nil, nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision, Retryable: true,
		Message: "namespace " + c.Namespace + " is still being removed", Hint: "kubectl get namespace " + c.Namespace + " -o yaml says what holds it"}
}
