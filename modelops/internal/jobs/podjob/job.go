// Package podjob is the driver of a job as a Job of Kubernetes: what is made of the
// PodTemplate that "mops workspace up" puts into the environment's namespace, and what the
// cluster says of it in the words of package jobs.
//
// The cluster starts a driver again that it lost: by eviction or preemption, or with its
// node. The next one goes on with the same start of the job, see package driver.
// A driver that fails by itself is not started again. There is never a second pod beside
// one that the cluster has not seen end; should a node that was given up for dead still
// run one, the storage keeps the two apart.
//
// Nothing secret is in a Job: the driver finds its environment, and what is secret in it,
// where the template mounts it.
package podjob

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/workspace"
)

// The PodTemplate that drivers are made of, and its container that drives.
const (
	TemplateName  = workspace.DriverTemplate
	ContainerName = workspace.DriverContainer
)

// EnvFileVariable is the variable of that container which says where the environment file
// is mounted.
const EnvFileVariable = "MODELOPS_BUNDLE_ENV_FILE"

// Labels, of the Job and of its pods.
const (
	JobLabel       = "modelops.io/job-id"
	ComponentLabel = workspace.ComponentLabel
	ManagerLabel   = "app.kubernetes.io/managed-by"
	component      = "driver"
)

// startAnnotation is the number of the transition by which the job was submitted.
const startAnnotation = "modelops.io/start"

const (
	// restarts is how often a driver is started again that ended for a reason that is
	// neither its own nor a disruption which the cluster knows of: a node that was switched
	// off, memory, a storage that did not answer. Disruptions do not count.
	restarts = 4
	// deadlineSlack is what a Job's deadline is over the job's time limit, which the driver
	// itself keeps: for finding a node, fetching the image, and last words.
	deadlineSlack = 10 * time.Minute
	// keptFor is how long a Job that has ended stays; how it ended is in the storage.
	keptFor = 7 * 24 * time.Hour
)

// ownFailures are exit codes by which the driver itself, or what starts it, says that
// another try ends alike: those of docs/exit-codes.md but "unavailable" and "interrupted",
// and the shell's for a program that is not there.
var ownFailures = []int32{1, 2, 3, 4, 5, 6, 126, 127}

// Job is what drives a job from the start with this number.
func Job(template *corev1.PodTemplate, job *jobs.Job, start int) (*batchv1.Job, error) {
	spec := *template.Template.Spec.DeepCopy()
	driver, err := driverOf(&spec)
	if err != nil {
		return nil, err
	}
	deadline, err := (contracts.Resources{Timeout: job.Options.JobTimeout}).TimeoutDuration()
	if err != nil {
		return nil, err
	}
	driver.Args = []string{"jobs", "drive", job.ID, "--env", job.Environment, "--env-file", "$(" + EnvFileVariable + ")", "--start", strconv.Itoa(start)}
	driver.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	spec.RestartPolicy = corev1.RestartPolicyNever // the Job decides, by how it ended
	labels := map[string]string{JobLabel: job.ID, ComponentLabel: component, ManagerLabel: kube.FieldManager}
	podLabels := maps.Clone(template.Template.Labels)
	if podLabels == nil {
		podLabels = map[string]string{}
	}
	maps.Copy(podLabels, labels)
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: job.ID, Namespace: template.Namespace, Labels: labels,
			Annotations: map[string]string{startAnnotation: strconv.Itoa(start)},
		},
		Spec: batchv1.JobSpec{
			Parallelism: new(int32(1)), Completions: new(int32(1)), BackoffLimit: new(int32(restarts)),
			TTLSecondsAfterFinished: new(int32(keptFor / time.Second)),
			PodReplacementPolicy:    new(batchv1.Failed), // never two: the last one has ended first
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
					{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}},
				{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
					ContainerName: &driver.Name, Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: ownFailures}},
			}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: podLabels, Annotations: template.Template.Annotations},
				Spec:       spec,
			},
		},
	}
	if deadline > 0 {
		j.Spec.ActiveDeadlineSeconds = new(int64((deadline + deadlineSlack) / time.Second))
	}
	return j, nil
}

// driverOf is the container that drives, if the template is as it has to be.
func driverOf(spec *corev1.PodSpec) (*corev1.Container, error) {
	i := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == ContainerName })
	switch {
	case i < 0:
		return nil, unusable("has no container " + ContainerName)
	case !strings.Contains(spec.Containers[i].Image, "@sha256:"):
		return nil, unusable("names the image " + contracts.Quote(spec.Containers[i].Image) + ", not by its digest")
	case !slices.ContainsFunc(spec.Containers[i].Env, func(e corev1.EnvVar) bool { return e.Name == EnvFileVariable }):
		return nil, unusable("does not say in " + EnvFileVariable + " where the environment file is mounted")
	}
	return &spec.Containers[i], nil
}

func unusable(problem string) error {
	return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit,
		Message: "PodTemplate " + TemplateName + " " + problem, Hint: "bring it up to date: mops workspace up"}
}
