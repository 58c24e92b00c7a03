package podjob

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// known is what the cluster says of one driver.
type known struct {
	job    *batchv1.Job
	pods   []corev1.Pod   // the job's, in no order
	events []corev1.Event // warnings about the Job and its pods, in no order; may be missing
}

// sight is the same in the words of package jobs.
func (k known) sight() jobs.Sighting {
	start, _ := strconv.Atoi(k.job.Annotations[startAnnotation]) // 0 then: nobody's start
	slices.SortFunc(k.pods, func(x, y corev1.Pod) int { return x.CreationTimestamp.Compare(y.CreationTimestamp.Time) })
	var now, lost *corev1.Pod
	for i := range k.pods {
		if pod := &k.pods[i]; ended(pod) {
			lost = pod
		} else {
			now = pod
		}
	}
	g := jobs.Sighting{Start: start}
	switch {
	case condition(k.job, batchv1.JobComplete) != nil:
		g.Phase = jobs.Completed
	case condition(k.job, batchv1.JobFailed) != nil:
		g.Phase, g.Failure = jobs.Broken, failure(condition(k.job, batchv1.JobFailed), lost)
		g.Words = g.Failure.Message
	case now == nil && lost == nil:
		g.Phase, g.Words = jobs.Waiting, cmp.Or(k.warning(k.job.Name), "its pod is being made")
	case now == nil:
		g.Phase, g.Words = jobs.Returning, fate(lost)+"; another one is to come"
	default:
		k.look(&g, now, lost)
	}
	if now == nil {
		now = lost
	}
	if now != nil {
		g.Pod, g.Node = now.Name, now.Spec.NodeName
	}
	return g
}

// look judges a job by the pod that it has.
func (k known) look(g *jobs.Sighting, pod, lost *corev1.Pod) {
	node := pod.Spec.NodeName
	switch c := podCondition(pod, corev1.PodReady); {
	case pod.DeletionTimestamp != nil:
		g.Phase, g.Words = jobs.Returning, "its pod is being ended on node "+node+disruption(pod)+"; another one comes once the node has confirmed that"
	case pod.Status.Phase == corev1.PodRunning:
		g.Phase = jobs.Up
		if c != nil && c.Status == corev1.ConditionFalse { // it has no probe: the cluster says so of a node's pods
			g.Words = "node " + node + " does not answer the cluster"
		}
	default:
		g.Phase, g.Words = jobs.Waiting, k.pending(pod)
		if lost != nil {
			g.Phase, g.Words = jobs.Returning, fate(lost)+"; the next one waits: "+g.Words
		}
	}
}

// pending says why a pod has not begun.
func (k known) pending(pod *corev1.Pod) string {
	if c := podCondition(pod, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		return "no node takes its pod: " + c.Message
	}
	if pod.Spec.NodeName == "" {
		return "its pod is being scheduled"
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := s.State.Waiting
		switch {
		case w == nil:
		case slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull", "RegistryUnavailable"}, w.Reason):
			return "its image cannot be pulled: " + cmp.Or(w.Message, w.Reason)
		case w.Message != "":
			return "its container cannot start: " + w.Reason + ": " + w.Message
		}
	}
	return cmp.Or(k.warning(pod.Name), "its container is being made on node "+pod.Spec.NodeName)
}

// warning is the newest that the cluster warned of about an object of this name; "" for
// none.
func (k known) warning(name string) string {
	var newest *corev1.Event
	for i, e := range k.events {
		if e.InvolvedObject.Name == name && e.Type == corev1.EventTypeWarning && (newest == nil || !e.LastTimestamp.Before(&newest.LastTimestamp)) {
			newest = &k.events[i]
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Reason + ": " + newest.Message
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

func condition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	i := slices.IndexFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
	if i < 0 {
		return nil
	}
	return &job.Status.Conditions[i]
}

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}

// fate says how a pod was lost.
func fate(pod *corev1.Pod) string {
	where := ""
	if pod.Spec.NodeName != "" {
		where = " on node " + pod.Spec.NodeName
	}
	if c := podCondition(pod, corev1.DisruptionTarget); c != nil && c.Status == corev1.ConditionTrue {
		return "its pod" + where + " was lost" + disruption(pod)
	}
	if pod.Status.Reason != "" {
		return "its pod" + where + " was lost (" + pod.Status.Reason + ": " + pod.Status.Message + ")"
	}
	if t := termination(pod); t != nil {
		return fmt.Sprintf("its pod%s ended with exit code %d%s", where, t.ExitCode, because(t))
	}
	return "its pod" + where + " ended"
}

// disruption is who ended a pod, in brackets; "" when that is not known.
func disruption(pod *corev1.Pod) string {
	c := podCondition(pod, corev1.DisruptionTarget)
	if c == nil || c.Status != corev1.ConditionTrue {
		return ""
	}
	words := map[string]string{
		"EvictionByEvictionAPI":               "evicted",
		corev1.PodReasonPreemptionByScheduler: "preempted by a pod of higher priority",
		"DeletionByTaintManager":              "its node did not answer, or is reserved now",
		"DeletionByPodGC":                     "its node is no more",
		corev1.PodReasonTerminationByKubelet:  "ended by its node",
	}
	text := cmp.Or(words[c.Reason], c.Reason)
	if c.Message != "" {
		text += ": " + c.Message
	}
	return " (" + text + ")"
}

func termination(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Terminated != nil && s.Name == ContainerName {
			return s.State.Terminated
		}
	}
	return nil
}

// because is a container's reason to end where it says more than its exit code.
func because(t *corev1.ContainerStateTerminated) string {
	if t.Reason == "" || t.Reason == "Error" || t.Reason == "Completed" {
		return ""
	}
	return " (" + t.Reason + ")"
}

// failure is what a Job failed of, in the end.
func failure(c *batchv1.JobCondition, pod *corev1.Pod) *contracts.Error {
	e := &contracts.Error{Code: contracts.CodeWorkerStopped, Stage: contracts.StageRun, Message: "the job's driver failed in the cluster: " + c.Reason}
	if c.Message != "" {
		e.Message += ": " + c.Message
	}
	if c.Reason == batchv1.JobReasonDeadlineExceeded {
		e.Code, e.Message = contracts.CodeTimeout, "the job's time limit has passed in the cluster, the time that its driver waited included"
		return e
	}
	if pod == nil {
		return e
	}
	t := termination(pod)
	switch {
	case t == nil:
	case t.Reason == "OOMKilled":
		e.Code, e.Message = contracts.CodeOutOfMemory, "the job's driver was killed in the cluster: it needs more memory than its pod may have"
		e.Hint = "give drivers more in the workspace's configuration, and run the rest: mops jobs resume " + pod.Labels[JobLabel]
	default:
		e.Message = fmt.Sprintf("the job's driver failed in the cluster, with exit code %d%s", t.ExitCode, because(t))
		e.StderrTail = strings.TrimSpace(t.Message)
	}
	return e
}
