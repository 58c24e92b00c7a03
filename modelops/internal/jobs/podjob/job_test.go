package podjob

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

const image = "registry.example.org/driver@sha256:0000000000000000000000000000000000000000000000000000000000000000"

// template is one as a workspace has it.
func template() *corev1.PodTemplate {
	return &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: TemplateName, Namespace: "modelops-dask-dev"},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "seir", ComponentLabel: "template"}, Annotations: map[string]string{"note": "x"}},
			Spec: corev1.PodSpec{
				ServiceAccountName: "modelops-driver", PriorityClassName: "modelops-driver",
				Tolerations: []corev1.Toleration{{Key: "modelops.io/role", Value: "cpu", Effect: corev1.TaintEffectNoSchedule}},
				Containers: []corev1.Container{{
					Name: ContainerName, Image: image,
					Env:          []corev1.EnvVar{{Name: EnvFileVariable, Value: "/etc/modelops/environment.yaml"}},
					VolumeMounts: []corev1.VolumeMount{{Name: "environment", MountPath: "/etc/modelops", ReadOnly: true}},
				}},
				Volumes: []corev1.Volume{{Name: "environment", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "modelops-environment"}}}},
			},
		},
	}
}

func job(id string) *jobs.Job {
	return &jobs.Job{ID: id, Environment: "dev", Driver: jobs.InCluster, Executor: jobs.Dask}
}

func TestJob(t *testing.T) {
	from := template()
	timed := job("job-0123456789ab")
	timed.Options.JobTimeout = "1h"
	got, err := Job(from, timed, 7)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{JobLabel: "job-0123456789ab", ComponentLabel: "driver", ManagerLabel: "modelops"}
	if got.Name != timed.ID || got.Namespace != "modelops-dask-dev" || got.Annotations[startAnnotation] != "7" {
		t.Errorf("metadata = %+v", got.ObjectMeta)
	}
	if diff := cmp.Diff(labels, got.Labels); diff != "" {
		t.Errorf("labels of the Job (-want +got):\n%s", diff)
	}
	labels["team"] = "seir"
	if diff := cmp.Diff(labels, got.Spec.Template.Labels); diff != "" {
		t.Errorf("labels of its pods (-want +got):\n%s", diff)
	}
	// What the template says reaches the pod; what a driver needs is added.
	want := from.DeepCopy().Template.Spec
	want.RestartPolicy = corev1.RestartPolicyNever
	want.Containers[0].Args = []string{"jobs", "drive", timed.ID, "--env", "dev", "--env-file", "$(MODELOPS_BUNDLE_ENV_FILE)", "--start", "7"}
	want.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	if diff := cmp.Diff(want, got.Spec.Template.Spec); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if d := got.Spec.ActiveDeadlineSeconds; d == nil || *d != 3600+600 {
		t.Errorf("deadline = %v, want an hour and ten minutes", d)
	}
	if *got.Spec.BackoffLimit != restarts || *got.Spec.TTLSecondsAfterFinished != 7*24*3600 || *got.Spec.PodReplacementPolicy != batchv1.Failed {
		t.Errorf("spec = %+v", got.Spec)
	}
	if diff := cmp.Diff(template(), from); diff != "" {
		t.Errorf("the template changed (-want +got):\n%s", diff)
	}
	untimed, err := Job(from, job("job-0123456789ab"), 2)
	if err != nil || untimed.Spec.ActiveDeadlineSeconds != nil {
		t.Errorf("without a time limit: deadline %v, %v", untimed.Spec.ActiveDeadlineSeconds, err)
	}
}

// The first rule that fits a pod decides: a disruption is nobody's failure, whatever the
// driver's exit code was; its own failure ends the Job; what is neither is tried again.
func TestFailurePolicy(t *testing.T) {
	made, err := Job(template(), job("job-0123456789ab"), 2)
	if err != nil {
		t.Fatal(err)
	}
	rules := made.Spec.PodFailurePolicy.Rules
	if len(rules) != 2 || rules[0].Action != batchv1.PodFailurePolicyActionIgnore || rules[0].OnPodConditions[0].Type != corev1.DisruptionTarget {
		t.Fatalf("first rule = %+v", rules[0])
	}
	if rules[1].Action != batchv1.PodFailurePolicyActionFailJob || *rules[1].OnExitCodes.ContainerName != ContainerName {
		t.Fatalf("second rule = %+v", rules[1])
	}
	codes := rules[1].OnExitCodes.Values
	for code, final := range map[int32]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 127: true,
		7: false /* unavailable */, 130: false /* told to stop */, 137: false /* killed */, 143: false, 255: false /* the node's */} {
		if slices.Contains(codes, code) != final {
			t.Errorf("exit code %d ends the Job: %v, want %v", code, !final, final)
		}
	}
	if !slices.IsSorted(codes) {
		t.Errorf("codes %v are not in order, which the API server wants", codes)
	}
}

// What a Job must not hold it cannot hold: nothing of the environment is given to it.
func TestJobHasNoSecret(t *testing.T) {
	made, err := Job(template(), job("job-0123456789ab"), 2)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"connection_string", "password", "AccountKey", "secret_key"} {
		if strings.Contains(string(data), word) {
			t.Errorf("the Job says %s: %s", word, data)
		}
	}
	if made.Spec.Template.Spec.Volumes[0].Secret.SecretName == "" {
		t.Error("the environment is not mounted from its Secret")
	}
}

func TestUnusableTemplates(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.PodSpec)
		want   string
	}{
		"tag":     {func(s *corev1.PodSpec) { s.Containers[0].Image = "registry.example.org/driver:latest" }, "not by its digest"},
		"no file": {func(s *corev1.PodSpec) { s.Containers[0].Env = nil }, EnvFileVariable},
		"no driver": {func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{})
			s.Containers[0].Name = "x"
		}, "no container driver"},
	} {
		from := template()
		tc.change(&from.Template.Spec)
		_, err := Job(from, job("job-0123456789ab"), 2)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(contracts.AsError(err).Hint, "mops workspace up") {
			t.Errorf("%s: %v, want %s and a hint", name, err, tc.want)
		}
	}
}
