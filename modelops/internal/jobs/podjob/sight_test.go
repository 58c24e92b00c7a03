package podjob

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// pod is one of a driver; later ones are newer.
func pod(age int, phase corev1.PodPhase, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "job-0123456789ab-" + string(rune('z'-age)), CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0)), Labels: map[string]string{JobLabel: "job-0123456789ab"}},
		Spec:       corev1.PodSpec{NodeName: "node-1"},
		Status:     corev1.PodStatus{Phase: phase},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func with(c corev1.PodCondition) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Conditions = append(p.Status.Conditions, c) }
}

func exited(code int32, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: ContainerName, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}}}
	}
}

func waits(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: ContainerName, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	}
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }

func TestSight(t *testing.T) {
	lost := func(reason string) func(*corev1.Pod) {
		return with(corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: "by the test"})
	}
	failed := func(reason string) []batchv1.JobCondition {
		return []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: reason, Message: "of the Job"}}
	}
	warn := func(name, message string) []corev1.Event {
		return []corev1.Event{
			{InvolvedObject: corev1.ObjectReference{Name: name}, Type: corev1.EventTypeWarning, Reason: "Older", Message: "older", LastTimestamp: metav1.NewTime(time.Unix(1, 0))},
			{InvolvedObject: corev1.ObjectReference{Name: name}, Type: corev1.EventTypeWarning, Reason: "Failed", Message: message, LastTimestamp: metav1.NewTime(time.Unix(2, 0))},
			{InvolvedObject: corev1.ObjectReference{Name: "another"}, Type: corev1.EventTypeWarning, Reason: "Other", Message: "of another", LastTimestamp: metav1.NewTime(time.Unix(3, 0))},
		}
	}
	for name, tc := range map[string]struct {
		conditions []batchv1.JobCondition
		pods       []corev1.Pod
		events     []corev1.Event
		phase      jobs.Phase
		words      []string
		code       contracts.Code
	}{
		"new":   {phase: jobs.Waiting, words: []string{"being made"}},
		"quota": {events: warn("job-0123456789ab", "exceeded quota"), phase: jobs.Waiting, words: []string{"exceeded quota"}},
		"unschedulable": {pods: []corev1.Pod{pod(0, corev1.PodPending, func(p *corev1.Pod) {
			p.Spec.NodeName = ""
			with(corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/2 nodes are available: 2 Insufficient cpu."})(p)
		})}, phase: jobs.Waiting, words: []string{"no node takes its pod", "Insufficient cpu"}},
		"image":  {pods: []corev1.Pod{pod(0, corev1.PodPending, waits("ImagePullBackOff", "Back-off pulling image"))}, phase: jobs.Waiting, words: []string{"image cannot be pulled", "Back-off"}},
		"secret": {pods: []corev1.Pod{pod(0, corev1.PodPending, waits("CreateContainerConfigError", `secret "x" not found`))}, phase: jobs.Waiting, words: []string{`secret "x" not found`}},
		"mount": {pods: []corev1.Pod{pod(0, corev1.PodPending, waits("ContainerCreating", ""))}, events: warn("job-0123456789ab-z", "MountVolume.SetUp failed"),
			phase: jobs.Waiting, words: []string{"MountVolume.SetUp failed"}},
		"up":   {pods: []corev1.Pod{pod(0, corev1.PodRunning, nil)}, phase: jobs.Up},
		"node": {pods: []corev1.Pod{pod(0, corev1.PodRunning, with(corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}))}, phase: jobs.Up, words: []string{"node-1 does not answer"}},
		"ending": {pods: []corev1.Pod{pod(0, corev1.PodRunning, func(p *corev1.Pod) { deleted(p); lost("DeletionByTaintManager")(p) })},
			phase: jobs.Returning, words: []string{"being ended on node node-1", "its node did not answer", "another one comes"}},
		"evicted": {pods: []corev1.Pod{pod(1, corev1.PodFailed, lost("EvictionByEvictionAPI"))}, phase: jobs.Returning, words: []string{"evicted: by the test", "another one is to come"}},
		"pressure": {pods: []corev1.Pod{pod(1, corev1.PodFailed, func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = "Evicted", "low on memory" })},
			phase: jobs.Returning, words: []string{"Evicted: low on memory"}},
		"preempted and waiting": {pods: []corev1.Pod{pod(0, corev1.PodPending, nil), pod(1, corev1.PodFailed, lost("PreemptionByScheduler"))},
			phase: jobs.Returning, words: []string{"preempted", "the next one waits"}},
		"back":     {pods: []corev1.Pod{pod(0, corev1.PodRunning, nil), pod(1, corev1.PodFailed, lost("DeletionByPodGC"))}, phase: jobs.Up},
		"again":    {pods: []corev1.Pod{pod(1, corev1.PodFailed, exited(130, "Error", ""))}, phase: jobs.Returning, words: []string{"exit code 130"}},
		"complete": {conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}, pods: []corev1.Pod{pod(0, corev1.PodSucceeded, nil)}, phase: jobs.Completed},
		"deadline": {conditions: failed(batchv1.JobReasonDeadlineExceeded), phase: jobs.Broken, words: []string{"time limit"}, code: contracts.CodeTimeout},
		"memory": {conditions: failed(batchv1.JobReasonBackoffLimitExceeded), pods: []corev1.Pod{pod(0, corev1.PodFailed, exited(137, "OOMKilled", ""))},
			phase: jobs.Broken, words: []string{"more memory"}, code: contracts.CodeOutOfMemory},
		"failed": {conditions: failed(batchv1.JobReasonPodFailurePolicy), pods: []corev1.Pod{pod(0, corev1.PodFailed, exited(4, "Error", "error: denied\n")), pod(1, corev1.PodFailed, lost("EvictionByEvictionAPI"))},
			phase: jobs.Broken, words: []string{"exit code 4"}, code: contracts.CodeWorkerStopped},
		"gone": {conditions: failed(batchv1.JobReasonBackoffLimitExceeded), phase: jobs.Broken, words: []string{"of the Job"}, code: contracts.CodeWorkerStopped},
	} {
		made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job-0123456789ab", Annotations: map[string]string{startAnnotation: "2"}}, Status: batchv1.JobStatus{Conditions: tc.conditions}}
		got := known{made, tc.pods, tc.events}.sight()
		if got.Phase != tc.phase || got.Start != 2 {
			t.Errorf("%s: %+v, want phase %s of start 2", name, got, tc.phase)
		}
		for _, word := range tc.words {
			if !strings.Contains(got.Words, word) {
				t.Errorf("%s: %q does not say %q", name, got.Words, word)
			}
		}
		if len(tc.words) == 0 && got.Words != "" {
			t.Errorf("%s: %q, want nothing", name, got.Words)
		}
		switch {
		case (got.Failure == nil) != (tc.code == ""):
			t.Errorf("%s: failure = %v", name, got.Failure)
		case got.Failure != nil && got.Failure.Code != tc.code:
			t.Errorf("%s: failure is %s, want %s", name, got.Failure.Code, tc.code)
		case name == "failed" && got.Failure.StderrTail != "error: denied":
			t.Errorf("%s: the driver's own words are %q", name, got.Failure.StderrTail)
		}
	}
}
