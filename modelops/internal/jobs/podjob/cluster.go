package podjob

import (
	"context"
	"io"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// Cluster is the drivers in the namespace of an environment's cluster.
type Cluster struct{ kube *kube.Cluster }

// In is the drivers in the cluster's own namespace.
func In(k *kube.Cluster) *Cluster { return &Cluster{k} }

const (
	lookTime = 10 * time.Second // how long the cluster may take where there is another way
	goneTime = time.Minute      // how long an earlier Job may take to be gone
	gonePoll = 500 * time.Millisecond
)

// Check finds out whether a driver can be made here, before there is a job for it. The
// cluster judges it, and keeps nothing.
func (c *Cluster) Check(ctx context.Context, job *jobs.Job) error {
	made, err := c.make(ctx, job, 0)
	if err != nil {
		return err
	}
	made.Name += "-check" // that of an earlier start may be there
	return c.kube.Create(ctx, made, kube.ApplyOptions{DryRun: true})
}

// make is the Job as the namespace's template has it.
func (c *Cluster) make(ctx context.Context, job *jobs.Job, start int) (*batchv1.Job, error) {
	template := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: TemplateName, Namespace: c.kube.Namespace}}
	err := c.kube.Get(ctx, template)
	if err != nil && contracts.AsError(err).Code == contracts.CodeNotFound {
		return nil, (&contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageSubmit,
			Message: "there is no PodTemplate " + TemplateName + " in namespace " + c.kube.Namespace + " of the cluster at " + c.kube.Host() + ", which drivers are made of",
			Hint:    "make the workspace: mops workspace up; or run the driver on this machine: --driver local"}).Because(err)
	}
	if err != nil {
		return nil, err
	}
	return Job(template, job, start)
}

// Start has the cluster drive a job from the start with this number. The Job of an earlier
// start is removed first, and what it still runs is ended; that of this very start is left
// as it is.
func (c *Cluster) Start(ctx context.Context, job *jobs.Job, start int) error {
	made, err := c.make(ctx, job, start)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(goneTime)
	for {
		err = c.kube.Create(ctx, made.DeepCopy(), kube.ApplyOptions{})
		if err == nil || contracts.AsError(err).Code != contracts.CodeConflict {
			return err
		}
		there := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: made.Name, Namespace: made.Namespace}}
		switch getErr := c.kube.Get(ctx, there); {
		case getErr != nil && contracts.AsError(getErr).Code == contracts.CodeNotFound: // it went in this moment
		case getErr != nil:
			return getErr
		case there.Annotations[startAnnotation] == strconv.Itoa(start):
			return nil
		case there.DeletionTimestamp == nil:
			if _, err := c.kube.Delete(ctx, there); contracts.Except(err, contracts.CodeConflict) != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageSubmit,
				Message: "the Job " + made.Name + " of an earlier start is still there after " + goneTime.String(),
				Hint:    "look at what keeps it: kubectl describe job " + made.Name + " --namespace " + c.kube.Namespace}
		}
		select {
		case <-time.After(gonePoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Look is what the cluster knows of drivers, by the job: of one job, or of all for "". A
// job that it has nothing of is not in the map.
func (c *Cluster) Look(ctx context.Context, id string) (map[string]jobs.Sighting, error) {
	ctx, stop := context.WithTimeout(ctx, lookTime)
	defer stop()
	drivers := kube.Selection{Labels: ManagerLabel + "=" + kube.FieldManager + "," + ComponentLabel + "=" + component}
	if id != "" {
		drivers.Labels += "," + JobLabel + "=" + id
	}
	// Pods first: what is read later can only be newer, and a Job's end is the last of all.
	var pods corev1.PodList
	if err := c.kube.List(ctx, &pods, drivers); err != nil {
		return nil, err
	}
	var list batchv1.JobList
	if err := c.kube.List(ctx, &list, drivers); err != nil {
		return nil, err
	}
	var events corev1.EventList
	if len(list.Items) > 0 { // without the right to see them, less is said
		_ = c.kube.List(ctx, &events, kube.Selection{Fields: "type=" + corev1.EventTypeWarning})
	}
	found := map[string]jobs.Sighting{}
	for i := range list.Items {
		job := &list.Items[i]
		k := known{job: job, events: events.Items}
		for _, pod := range pods.Items {
			if metav1.IsControlledBy(&pod, job) {
				k.pods = append(k.pods, pod)
			}
		}
		found[job.Labels[JobLabel]] = k.sight()
	}
	return found, nil
}

// Stop removes the Job of a job: its pod is told to stop, and ended after its time of
// grace. That there is none is no error.
func (c *Cluster) Stop(ctx context.Context, id string) error {
	ctx, stop := context.WithTimeout(ctx, lookTime)
	defer stop()
	_, err := c.kube.Delete(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: c.kube.Namespace}})
	return err
}

// Log is what a driver's pod wrote, from its beginning, to be closed; with follow until its
// end. A cluster that does not answer is not waited for.
func (c *Cluster) Log(ctx context.Context, pod string, follow bool) (io.ReadCloser, error) {
	ctx, stop := context.WithCancel(ctx)
	patience := time.AfterFunc(lookTime, stop)
	log, err := c.kube.Logs(ctx, pod, kube.LogOptions{Follow: follow, Container: ContainerName})
	if err != nil {
		stop()
		return nil, err
	}
	if follow {
		patience.Stop()
	}
	return &stopped{log, stop}, nil
}

// stopped is a stream whose request ends with it.
type stopped struct {
	io.ReadCloser
	stop func()
}

// Close closes the stream.
func (s *stopped) Close() error {
	defer s.stop()
	return s.ReadCloser.Close()
}
