package workspace

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

const (
	schedulerImage = "registry.example.org/modelops-scheduler@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	workerImage    = "registry.example.org/modelops-worker@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	driverImage    = "registry.example.org/modelops-driver@sha256:3333333333333333333333333333333333333333333333333333333333333333"
)

// environment is one with secrets, as an environment file has it.
func environment(t testing.TB) *contracts.BundleEnvironment {
	t.Helper()
	env, _, err := contracts.ParseEnvironment("dev.yaml", []byte(`{environment: dev, version: "1.1", timestamp: "2026-03-01T00:00:00Z",
registry: {provider: docker, login_server: registry.example.org, requires_auth: true, username: puller, password: canary-password},
storage: {provider: s3, container: models, endpoint: "https://s3.example.org", access_key: key, secret_key: canary-secret}}`))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// configured is the section workspace with the images, and what lines of YAML add.
func configured(t testing.TB, line string) config.Workspace {
	t.Helper()
	text := fmt.Sprintf("schema_version: 3\nworkspace:\n  scheduler_image: %s\n  worker_image: %s\n  driver_image: %s\n", schedulerImage, workerImage, driverImage)
	for extra := range strings.Lines(line) {
		if key, _, _ := strings.Cut(strings.TrimSpace(extra), ":"); strings.HasSuffix(key, "_image") {
			text = strings.ReplaceAll(text, "  "+key+": ", "  # ")
		}
		text += "  " + strings.TrimSpace(extra) + "\n"
	}
	c, err := config.Parse("modelops.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c.Workspace
}

// issued is the certificate of the tests' workspaces.
var issued = sync.OnceValues(func() (*certificate.Shared, error) { return issue(time.Now()) })

func objects(t testing.TB, conf config.Workspace) []kube.Object {
	t.Helper()
	spec, err := NewSpec(conf, environment(t))
	if err != nil {
		t.Fatal(err)
	}
	if spec.Certificate, err = issued(); err != nil {
		t.Fatal(err)
	}
	list, err := Objects(spec)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// text is a manifest, or all, as JSON.
func text(t testing.TB, o kube.Object) string {
	t.Helper()
	data, err := json.Marshal(kube.Document(o))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// variation is a key of the configuration with another value than its default, and what of
// the manifests must then say so.
type variation struct {
	line string // of YAML
	in   string // the objects, as [kube.Name] says them, with commas between
	want string // in the JSON of each
}

// The objects that pods are made of.
const (
	allPods   = "Deployment modelops-scheduler, Deployment modelops-worker, PodTemplate modelops-driver"
	nodesPods = "Deployment modelops-worker, PodTemplate modelops-driver" // that have an environment file
)

func variations() []variation {
	const other = "other.example.org/image@sha256:4444444444444444444444444444444444444444444444444444444444444444"
	return []variation{
		{"namespace: elsewhere", "Namespace elsewhere", `"name":"elsewhere"`},
		{"context: another", "", ""}, // of the kubeconfig: see TestCompute
		{"scheduler_image: " + other, "Deployment modelops-scheduler", `"image":"` + other},
		{"worker_image: " + other, "Deployment modelops-worker", `"image":"` + other},
		{"driver_image: " + other, "PodTemplate modelops-driver", `"image":"` + other},
		{"image_pull_policy: Always", allPods, `"imagePullPolicy":"Always"`},
		{"image_pull_secret: login", allPods, `"imagePullSecrets":[{"name":"login"}]`},
		{"min_workers: 2", "Deployment modelops-scheduler", `{"name":"MODELOPS_MIN_WORKERS","value":"2"}`},
		{"max_workers: 40", "Deployment modelops-scheduler", `{"name":"MODELOPS_MAX_WORKERS","value":"40"}`},
		{"idle_minutes: 3", "Deployment modelops-scheduler", `{"name":"MODELOPS_IDLE_SECONDS","value":"180"}`},
		{"grace_minutes: 90", "Deployment modelops-worker", `"terminationGracePeriodSeconds":5430`},
		{`worker_cpu: "6"`, "Deployment modelops-worker", `"--nthreads","6"`},
		{`worker_cpu: "6"`, "Deployment modelops-worker", `"cores=6 memory=`},
		{`worker_cpu: "6"`, "Deployment modelops-worker", `"requests":{"cpu":"6",`},
		{`worker_cpu: "6"`, "Deployment modelops-scheduler", `{"name":"MODELOPS_WORKER_THREADS","value":"6"}`},
		{"worker_memory: 16Gi", "Deployment modelops-worker", `"limits":{"memory":"16Gi"},"requests":{"cpu":"2","memory":"16Gi"}`},
		{"worker_memory: 16Gi", "Deployment modelops-worker", ` memory=17179869184"`},
		{"scheduler_cpu: 300m", "Deployment modelops-scheduler", `"cpu":"300m"`},
		{"scheduler_memory: 3Gi", "Deployment modelops-scheduler", `"limits":{"memory":"3Gi"}`},
		{"driver_cpu: 700m", "PodTemplate modelops-driver", `"cpu":"700m"`},
		{"driver_memory: 5Gi", "PodTemplate modelops-driver", `"limits":{"memory":"5Gi"}`},
		{"cache: pod", "Namespace modelops-dask-dev", `"pod-security.kubernetes.io/enforce":"restricted"`},
		{"cache_path: /mnt/models", "Deployment modelops-worker", `"hostPath":{"path":"/mnt/models/modelops-dask-dev"`},
		{"node_selector: {kubernetes.io/arch: amd64}", allPods, `"nodeSelector":{"kubernetes.io/arch":"amd64"}`},
		{`tolerations: ["gpu=yes:NoExecute"]`, allPods, `{"effect":"NoExecute","key":"gpu","operator":"Equal","value":"yes"}`},
		{"priority_class: batch", allPods, `"priorityClassName":"batch"`},
		{"identity_client_id: 3f2504e0-4f89-41d3-9a0c-0305e82c3303", nodesPods, `"azure.workload.identity/use":"true"`},
		{"identity_client_id: 3f2504e0-4f89-41d3-9a0c-0305e82c3303", "ServiceAccount modelops-worker, ServiceAccount modelops-driver", `"azure.workload.identity/client-id":"3f2504e0-4f89-41d3-9a0c-0305e82c3303"`},
		{"network_policy: false", "", ""}, // see below
	}
}

// Every key of the configuration reaches its manifest, and no manifest says it without.
func TestEveryKeyReachesItsManifest(t *testing.T) {
	plain := map[string]string{}
	for _, o := range objects(t, configured(t, "")) {
		plain[kube.Name(o)] = text(t, o)
	}
	tried := map[string]bool{}
	for _, v := range variations() {
		key, _, _ := strings.Cut(v.line, ":")
		tried["workspace."+key] = true
		if v.in == "" {
			continue
		}
		got := map[string]string{}
		for _, o := range objects(t, configured(t, v.line)) {
			got[kube.Name(o)] = text(t, o)
		}
		for name := range strings.SplitSeq(v.in, ", ") {
			if !strings.Contains(got[name], v.want) || strings.Contains(plain[name], v.want) {
				t.Errorf("%s: %s does not say %s, or says it anyway", v.line, name, v.want)
			}
		}
	}
	for _, key := range config.Keys() {
		if key.Section() == "workspace" && !tried[key.Path] {
			t.Errorf("no variation of %s", key.Path)
		}
	}
	for _, o := range objects(t, configured(t, "network_policy: false")) {
		if kube.Kind(o).Kind == "NetworkPolicy" {
			t.Error("a NetworkPolicy that nobody wants")
		}
	}
	if plain["NetworkPolicy modelops-workspace"] == "" {
		t.Error("no NetworkPolicy")
	}
}

func TestCompute(t *testing.T) {
	spec, err := NewSpec(configured(t, "context: another"), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	want := &contracts.Compute{Provider: "dask", Scheduler: "tls://modelops-scheduler.modelops-dask-dev.svc:8786",
		TLS:        &contracts.ComputeTLS{CAFile: "/etc/modelops/tls/ca.crt", CertFile: "/etc/modelops/tls/tls.crt", KeyFile: "/etc/modelops/tls/tls.key"},
		Kubernetes: &contracts.ComputeKubernetes{Context: "another", Namespace: "modelops-dask-dev"}}
	if diff := cmp.Diff(want, spec.Compute()); diff != "" {
		t.Error(diff)
	}
	// An environment file of before there was TLS names the same workspace.
	before := *want
	before.Scheduler, before.TLS = "tcp://modelops-scheduler.modelops-dask-dev.svc:8786", nil
	other := before
	other.Scheduler = "tcp://modelops-scheduler.elsewhere.svc:8786"
	if !spec.Made(want) || !spec.Made(&before) || spec.Made(&other) || spec.Made(nil) {
		t.Error("the workspace of an environment file is not told from another")
	}
	// Who has the environment file alone finds the same place.
	spec.Config = config.Default().Workspace
	spec.Environment.Compute = want
	if diff := cmp.Diff(want, spec.Compute()); diff != "" {
		t.Error(diff)
	}
}

// Secrets are in the Secret, which is rendered when it is asked for, and nowhere else.
func TestSecrets(t *testing.T) {
	list := objects(t, configured(t, ""))
	shown, err := YAML(Documents(list, false))
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{"canary", "Y2FuYXJ5", "kind: Secret", "PRIVATE KEY", "LS0tLS1CRUdJTi"} { // plain, and base64
		if strings.Contains(string(shown), canary) {
			t.Errorf("%s is shown", canary)
		}
	}
	all, err := YAML(Documents(list, true))
	if err != nil || !strings.Contains(string(all), "kind: Secret") {
		t.Error(err)
	}
}

// Pods have the environment file with the cluster's own place, and its pods change when it
// does, but not for a date.
func TestMounted(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	pods := func(change func(*contracts.BundleEnvironment)) (*corev1.Secret, string) {
		env := environment(t)
		change(env)
		spec, err := NewSpec(configured(t, ""), env)
		if err != nil {
			t.Fatal(err)
		}
		list, err := Objects(spec)
		if err != nil {
			t.Fatal(err)
		}
		var secret *corev1.Secret
		digest := ""
		for _, o := range list {
			switch o := o.(type) {
			case *corev1.Secret:
				secret = o
			case *appsv1.Deployment:
				digest += o.Spec.Template.Annotations["modelops.io/environment"]
			}
		}
		return secret, digest
	}
	secret, digest := pods(func(env *contracts.BundleEnvironment) { env.Registry.CAFile = ca })
	env, _, err := contracts.ParseEnvironment("", secret.Data["environment.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	if env.Compute == nil || env.Compute.Scheduler != "tls://modelops-scheduler.modelops-dask-dev.svc:8786" || env.Compute.Kubernetes.Context != "" {
		t.Errorf("%+v", env.Compute)
	}
	if env.Registry.CAFile != "/etc/modelops/environment/registry-ca.pem" || string(secret.Data["registry-ca.pem"]) != "certificate" {
		t.Error(env.Registry)
	}
	_, plain := pods(func(*contracts.BundleEnvironment) {})
	_, later := pods(func(env *contracts.BundleEnvironment) { env.Timestamp = "2027-01-01T00:00:00Z" })
	_, other := pods(func(env *contracts.BundleEnvironment) { env.Registry.Password = "another" })
	if plain == digest || plain != later || plain == other {
		t.Error(plain, digest, later, other)
	}
}

// What docs/workspace.md has people write into the environment file is what "up" writes.
func TestDocumentedCompute(t *testing.T) {
	page, err := os.ReadFile("../../../docs/workspace.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\ncompute:\n")
	block, _, _ = strings.Cut(block, "```")
	written, _, err := contracts.ParseEnvironment("dev.yaml", []byte("environment: dev\nregistry: {provider: docker, login_server: registry.example.org}\n"+
		"storage: {provider: s3, container: models, endpoint: \"https://s3.example.org\"}\ncompute:\n"+block))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := NewSpec(configured(t, ""), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec.Compute(), written.Compute); diff != "" {
		t.Error(diff)
	}
}

func TestNoStorage(t *testing.T) {
	for _, storage := range []*contracts.Storage{nil, {Provider: "fs", Container: "/data"}} {
		env := environment(t)
		env.Storage = storage
		if _, err := NewSpec(configured(t, ""), env); contracts.AsError(err) == nil || contracts.AsError(err).Code != contracts.CodeUnsupported {
			t.Error(err)
		}
	}
}

// A pod says what runs in it, which bundle-worker it has, and why it does not run.
func TestPod(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	ended := func(code int32, message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", Message: message}}
	}
	digest := workerImage[strings.Index(workerImage, "@")+1:]
	for name, test := range map[string]struct {
		status corev1.PodStatus
		want   Pod
	}{
		"current": {
			corev1.PodStatus{Phase: corev1.PodRunning,
				InitContainerStatuses: []corev1.ContainerStatus{{Name: "prepare", State: ended(0, `{"name":"bundle-worker","version":"v1.2.0","contract":"1.1"}`)}},
				ContainerStatuses:     []corev1.ContainerStatus{{Name: "worker", ImageID: "docker-pullable://" + workerImage}}},
			Pod{Phase: "Running", Digest: digest, Version: "v1.2.0", Speaks: "1.1", Current: true},
		},
		"older": {
			corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{ImageID: "registry.example.org/modelops-worker@sha256:0000"}}},
			Pod{Phase: "Running", Digest: "sha256:0000"},
		},
		"image": {
			corev1.PodStatus{Phase: corev1.PodPending, InitContainerStatuses: []corev1.ContainerStatus{{State: waiting("ErrImagePull", "401 Unauthorized")}},
				ContainerStatuses: []corev1.ContainerStatus{{State: waiting("PodInitializing", "")}}},
			Pod{Phase: "Pending", Why: "ErrImagePull: 401 Unauthorized"},
		},
		"prepare": {
			corev1.PodStatus{Phase: corev1.PodPending, InitContainerStatuses: []corev1.ContainerStatus{{Name: "prepare", State: ended(1, "mkdir: read-only")}}},
			Pod{Phase: "Pending", Why: "prepare ended with 1: Error mkdir: read-only"},
		},
		"no node": {
			corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available"}}},
			Pod{Phase: "Pending", Why: "0/3 nodes are available"},
		},
	} {
		asked := &appsv1.Deployment{}
		asked.Spec.Template.Spec.Containers = []corev1.Container{{Image: workerImage}}
		if diff := cmp.Diff(test.want, podOf(&corev1.Pod{Status: test.status}, asked)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A roll-out has ended when no pod of an earlier version counts any more: three new ones
// with one old among those that run are not three new ones that run.
func TestRollingOut(t *testing.T) {
	for name, test := range map[string]struct {
		wanted   int32
		observed int64
		status   appsv1.DeploymentStatus
		want     string
	}{
		"new":                  {1, 1, appsv1.DeploymentStatus{}, "looked at"},
		"surge":                {3, 2, appsv1.DeploymentStatus{Replicas: 4, UpdatedReplicas: 1, AvailableReplicas: 3}, "1 of 3 pods are of the new version"},
		"old is left":          {3, 2, appsv1.DeploymentStatus{Replicas: 4, UpdatedReplicas: 3, AvailableReplicas: 3}, "1 pods of an earlier version"},
		"old one, all new run": {3, 2, appsv1.DeploymentStatus{Replicas: 4, UpdatedReplicas: 3, AvailableReplicas: 4}, "1 pods of an earlier version"},
		"not ready":            {3, 2, appsv1.DeploymentStatus{Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 2}, "2 of 3 pods run"},
		"none wanted":          {0, 2, appsv1.DeploymentStatus{}, ""},
		"done":                 {3, 2, appsv1.DeploymentStatus{Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 3}, ""},
	} {
		d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &test.wanted}, Status: test.status}
		d.Generation, d.Status.ObservedGeneration = 2, test.observed
		if got := rollingOut(d); !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// A pod is stale that runs another image than was asked for and does not go already, or
// whose bundle-worker this program does not understand.
func TestStale(t *testing.T) {
	for want, pod := range map[string]Pod{
		"":                       {Current: true, Speaks: contracts.ContractVersion, Version: "v1.2.0"},
		"Pod p runs sha256:0000": {Digest: "sha256:0000", Speaks: contracts.ContractVersion},
		"Pod p runs nothing yet": {},
		" ":                      {Digest: "sha256:0000", Leaving: true},
		"Pod p is of an earlier version, and runs sha256:1111":                             {Digest: "sha256:1111", Earlier: true},
		"v9.0.0, which speaks contract 9.1, and this program " + contracts.ContractVersion: {Current: true, Speaks: "9.1", Version: "v9.0.0"},
	} {
		pod.Name = "p"
		got := strings.Join(pod.stale(), "; ")
		if want = strings.TrimSpace(want); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", pod, got, want)
		}
	}
}

// What the configuration leaves open, the cluster that was made for the environment says.
func TestClusterOfTheEnvironment(t *testing.T) {
	const theirs, own = "3f2504e0-4f89-41d3-9a0c-0305e82c3304", "3f2504e0-4f89-41d3-9a0c-0305e82c3303"
	for line, want := range map[string][2]string{
		"": {"made", theirs},
		"context: another\n  identity_client_id: " + own: {"another", own},
	} {
		s, err := NewSpec(configured(t, line), environment(t))
		if err != nil {
			t.Fatal(err)
		}
		s.Cluster = &infra.KubernetesCluster{Name: "made", Context: "made", WorkerClientID: theirs}
		if got := s.Context(); got != want[0] {
			t.Errorf("%q: context %s, want %s", line, got, want[0])
		}
		list, err := Objects(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			if kube.Name(o) == "ServiceAccount modelops-driver" && !strings.Contains(text(t, o), `"azure.workload.identity/client-id":"`+want[1]+`"`) {
				t.Errorf("%q: drivers are not %s", line, want[1])
			}
		}
	}
}
