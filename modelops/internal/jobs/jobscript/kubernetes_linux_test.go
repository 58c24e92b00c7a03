//go:build kubernetes

package jobscript

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3test"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/podjob"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
	"github.com/modelops-suite/modelops-go/modelops/internal/workspace"
)

// clusterStatus is what these tests ask about.
type clusterStatus struct {
	State   string
	Tasks   map[string]int
	Reason  string
	Started time.Time
	Driver  *struct {
		Place, Host     string
		Alive, Expected bool
	}
	Cluster *struct{ Phase, Pod, Node, Message string }
	Errors  []struct {
		Error struct{ Code, Message string }
	}
}

func newInCluster(t *testing.T) *inCluster {
	t.Helper()
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 3})
	server := s3test.Start(t)
	storage := server.Bucket("team-blobs")
	store, err := s3.Open(storage, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := newPerson(t)
	k := cluster.Open(t, cluster.Namespace(t))
	env, err := p.cloudFile(storage, k.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	p.more = []string{"KUBECONFIG=" + cluster.Kubeconfig, "MODELOPS_ENV=cloud"}
	p.must("bundle", "env", "switch", "cloud")
	// What "mops workspace up" has for drivers.
	image := "registry.example.org/modelops@sha256:" + strings.Repeat("0", 64)
	spec, err := workspace.NewSpec(config.Workspace{
		Namespace: k.Namespace, SchedulerImage: image, WorkerImage: image, DriverImage: image, ImagePullPolicy: "IfNotPresent", MaxWorkers: 1,
		WorkerCPU: "1", WorkerMemory: "1Gi", SchedulerCPU: "1", SchedulerMemory: "1Gi", DriverCPU: "1", DriverMemory: "1Gi", Cache: config.PodCache,
	}, env)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := workspace.Objects(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		switch o.(type) {
		case *corev1.Secret, *corev1.ServiceAccount, *corev1.PodTemplate:
			if err := k.Apply(t.Context(), o, kube.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &inCluster{p, startKubelet(t, cluster, k, p.work)}
}

// study makes one of n tasks of half a second, until a file "hurry" is there.
func (p *inCluster) study(n int) {
	p.person.t.Helper()
	if err := os.WriteFile(filepath.Join(p.person.dir, "wire.py"), fmt.Appendf(nil, slowWire, p.hurry()), 0o600); err != nil {
		p.person.t.Fatal(err)
	}
	p.must("study", "grid", "--model", "model.sir", "--param", fmt.Sprintf("i=int:1:%d:%d", n, n), "--output", "study.json", "--force")
}

func (p *inCluster) hurry() string { return filepath.Join(p.person.work, "hurry") }

func (p *inCluster) hurryUp() {
	p.person.t.Helper()
	if err := os.WriteFile(p.hurry(), nil, 0o600); err != nil {
		p.person.t.Fatal(err)
	}
}

// submit has the driver run its tasks in its own pod.
func (p *inCluster) submit(more ...string) string {
	p.person.t.Helper()
	return strings.TrimSpace(p.must(append([]string{"jobs", "submit", "study.json", "--executor", "process", "--driver", "kubernetes", "--jobs", "2"}, more...)...))
}

func (p *inCluster) status(job string) (s clusterStatus) {
	p.person.t.Helper()
	if err := json.Unmarshal([]byte(p.must("jobs", "status", job, "--json")), &s); err != nil {
		p.person.t.Fatal(err)
	}
	return s
}

// await waits until the job stands as is wanted.
func (p *inCluster) await(job, what string, holds func(clusterStatus) bool) clusterStatus {
	p.person.t.Helper()
	var s clusterStatus
	p.cluster.Await(p.person.t, job+" is "+what, func() error {
		if s = p.status(job); holds(s) {
			return nil
		}
		return fmt.Errorf("it is %+v, driver %+v, cluster %+v", s, s.Driver, s.Cluster)
	})
	return s
}

func (p *inCluster) done(job string, n int) clusterStatus {
	p.person.t.Helper()
	return p.await(job, "so far", func(s clusterStatus) bool { return s.Tasks["succeeded"] >= n })
}

func (p *inCluster) ended(job, state string) clusterStatus {
	p.person.t.Helper()
	return p.await(job, state, func(s clusterStatus) bool { return s.State == state })
}

// condition says whether the Job of a job has one; there is no Job for false, false.
func (p *inCluster) condition(job string, kind batchv1.JobConditionType) (has, found bool) {
	p.person.t.Helper()
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: job, Namespace: p.kube.Namespace}}
	if err := p.kube.Get(p.person.t.Context(), j); err != nil {
		return false, false
	}
	for _, c := range j.Status.Conditions {
		has = has || c.Type == kind && c.Status == corev1.ConditionTrue
	}
	return has, true
}

func (p *inCluster) until(what string, holds func() bool) {
	p.person.t.Helper()
	p.cluster.Await(p.person.t, what, func() error {
		if holds() {
			return nil
		}
		return errors.New("it did not come to it")
	})
}

// A job whose driver is a pod runs to its end: its Job is complete, its log comes from the
// pod while that lives and from the storage then, and its table is whole.
func TestKubernetesCompletes(t *testing.T) {
	p := newInCluster(t)
	p.study(20)
	id := p.submit()
	p.done(id, 3)
	s := p.status(id)
	if s.State != "RUNNING" || s.Driver == nil || s.Driver.Place != "kubernetes" || !s.Driver.Alive || s.Cluster == nil || s.Cluster.Phase != "up" || s.Cluster.Node == "" {
		t.Errorf("while it runs: %+v, driver %+v, cluster %+v", s, s.Driver, s.Cluster)
	}
	if _, err := p.mops("jobs", "resume", id); err == nil || !strings.Contains(err.Error(), "has a driver in the cluster") {
		t.Errorf("resuming it: %v", err)
	}
	follow := exec.Command(filepath.Join(bin, "mops"), "jobs", "logs", id, "--follow")
	follow.Env, follow.Dir = p.environ(), p.person.dir
	var followed strings.Builder
	follow.Stdout = &followed
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	p.hurryUp()
	p.ended(id, "SUCCEEDED")
	if err := follow.Wait(); err != nil {
		t.Errorf("logs --follow: %v", err)
	}
	for _, words := range []string{"job is running", "planned", "job has ended"} {
		if n := strings.Count(followed.String(), words); n != 1 {
			t.Errorf("%q is %d times in the log that was followed:\n%s", words, n, followed.String())
		}
	}
	p.until("the Job is complete", func() bool { has, _ := p.condition(id, batchv1.JobComplete); return has })
	if kept := p.must("jobs", "logs", id); strings.Count(kept, "job has ended") != 1 {
		t.Errorf("the log that is kept:\n%s", kept)
	}
	p.must("jobs", "results", id, "--format", "csv", "--output", "results/out")
	if data, err := os.ReadFile(filepath.Join(p.person.dir, "results/out/out.csv")); err != nil || strings.Count(string(data), "\n") != 21 {
		t.Errorf("table: %v\n%s", err, data)
	}
	p.must("jobs", "rm", id)
	p.until("the Job is gone", func() bool { _, found := p.condition(id, batchv1.JobComplete); return !found })
}

// A pod that is evicted, or removed by hand, is told to stop, and the next one runs what is
// missing; nothing of it is a failure. Meanwhile the job says what happens.
func TestKubernetesEvicted(t *testing.T) {
	t.Run("by who drains", func(t *testing.T) {
		p := newInCluster(t)
		p.movesOn(t, func(pod string) { p.cluster.Evict(t, p.kube.Namespace, pod) })
	})
	t.Run("by hand", func(t *testing.T) {
		p := newInCluster(t)
		p.movesOn(t, func(pod string) {
			if _, err := p.kube.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: p.kube.Namespace}}); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// movesOn has a pod of a job go in the midst of it.
func (p *inCluster) movesOn(t *testing.T, remove func(pod string)) {
	t.Helper()
	p.study(80)
	id := p.submit()
	before := p.done(id, 4)
	pod := p.status(id).Cluster.Pod
	remove(pod)
	p.await(id, "on another pod", func(s clusterStatus) bool {
		if s.State != "RUNNING" && s.State != "SUCCEEDED" {
			t.Fatalf("evicted, it is %s (%s)", s.State, s.Reason)
		}
		return s.Cluster != nil && s.Cluster.Phase == "up" && s.Cluster.Pod != pod && s.Driver.Alive
	})
	if code, ended := p.exited(pod); code != 130 {
		t.Errorf("the evicted driver ended: %v, with %d, want exit code 130: interrupted", ended, code)
	}
	p.hurryUp()
	s := p.ended(id, "SUCCEEDED")
	if s.Tasks["succeeded"] != 80 || before.Tasks["succeeded"] < 4 {
		t.Errorf("tasks = %v", s.Tasks)
	}
	log := p.must("jobs", "logs", id)
	if strings.Count(log, "msg=planned") != 2 || !strings.Contains(log, "driver was told to stop") {
		t.Errorf("the log of both pods:\n%s", log)
	}
	if n := strings.Count(log, "done=0"); n != 1 {
		t.Errorf("%d drivers found no results, want the first one only:\n%s", n, log)
	}
}

// Cancelling ends the pod and removes the Job; resuming has another one made.
func TestKubernetesCancelled(t *testing.T) {
	p := newInCluster(t)
	p.study(30)
	id := p.submit()
	p.done(id, 2)
	pod := p.status(id).Cluster.Pod
	p.must("jobs", "cancel", id)
	p.until("the driver has ended", func() bool { _, has := p.exited(pod); return has })
	p.until("the Job is gone", func() bool { _, found := p.condition(id, batchv1.JobComplete); return !found })
	if s := p.status(id); s.State != "CANCELLED" || s.Tasks["cancelled"] == 0 {
		t.Errorf("cancelled, it is %+v", s)
	}
	p.hurryUp()
	p.must("jobs", "resume", id)
	if s := p.ended(id, "SUCCEEDED"); s.Tasks["succeeded"] != 30 {
		t.Errorf("resumed, it has %v", s.Tasks)
	}
}

// A driver that fails by itself is not started again, and the job says what it failed of;
// so does one whose tasks fail, in their own words.
func TestKubernetesFails(t *testing.T) {
	p := newInCluster(t)
	p.study(3)
	p.mu.Lock()
	p.fails = 4
	p.mu.Unlock()
	id := p.submit()
	s := p.ended(id, "FAILED")
	if len(s.Errors) == 0 || s.Errors[0].Error.Code != "worker_stopped" || !strings.Contains(s.Reason, "exit code 4") {
		t.Errorf("failed, it is %+v", s)
	}
	var pods corev1.PodList
	if err := p.kube.List(t.Context(), &pods, kube.Selection{Labels: podjob.JobLabel + "=" + id}); err != nil || len(pods.Items) != 1 {
		t.Errorf("%d pods, %v; want one", len(pods.Items), err)
	}
	p.mu.Lock()
	p.fails = 0
	p.mu.Unlock()
	p.hurryUp()
	p.must("jobs", "resume", id)
	p.ended(id, "SUCCEEDED")

	if err := os.WriteFile(filepath.Join(p.person.dir, "wire.py"), []byte("def wire(entrypoint, params, seed):\n    raise ValueError('not today')\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id = p.submit()
	if s := p.ended(id, "FAILED"); len(s.Errors) == 0 || !strings.Contains(s.Errors[0].Error.Message, "not today") {
		t.Errorf("failed tasks: %+v", s)
	}
	p.until("the Job has failed", func() bool { has, _ := p.condition(id, batchv1.JobFailed); return has })
}

// What keeps a driver from beginning is said; without a PodTemplate there is no job.
func TestKubernetesWaits(t *testing.T) {
	p := newInCluster(t)
	p.study(3)
	template := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: podjob.TemplateName, Namespace: p.kube.Namespace}}
	if err := p.kube.Get(t.Context(), template); err != nil {
		t.Fatal(err)
	}
	template.ObjectMeta = metav1.ObjectMeta{Name: template.Name, Namespace: template.Namespace, Labels: template.Labels}
	template.Template.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("1000")
	if err := p.kube.Apply(t.Context(), template, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	id := p.submit()
	s := p.await(id, "waiting for a node", func(s clusterStatus) bool {
		return s.Cluster != nil && strings.Contains(s.Cluster.Message, "Insufficient cpu")
	})
	if s.State != "SUBMITTED" || s.Cluster.Phase != "waiting" || s.Driver.Alive || !s.Driver.Expected {
		t.Errorf("unschedulable, it is %+v, driver %+v, cluster %+v", s, s.Driver, s.Cluster)
	}
	if text := p.must("jobs", "status", id); !strings.Contains(text, "no node takes its pod") {
		t.Errorf("status says:\n%s", text)
	}
	if text := p.must("jobs", "list"); !strings.Contains(text, "SUBMITTED (waiting)") {
		t.Errorf("list says:\n%s", text)
	}
	p.must("jobs", "cancel", id)

	if _, err := p.kube.Delete(t.Context(), template); err != nil {
		t.Fatal(err)
	}
	_, err := p.mops("jobs", "submit", "study.json", "--executor", "process", "--driver", "kubernetes")
	if err == nil || !strings.Contains(err.Error(), "there is no PodTemplate modelops-driver in namespace "+p.kube.Namespace) || !strings.Contains(err.Error(), "mops workspace up") {
		t.Errorf("without a template: %v", err)
	}
	if n := strings.Count(p.must("jobs", "list"), "job-"); n != 1 {
		t.Errorf("%d jobs, want the cancelled one", n)
	}
}

// While the cluster does not answer, the storage's word counts, and is said to; cancelling
// needs no cluster.
func TestKubernetesUnanswered(t *testing.T) {
	p := newInCluster(t)
	p.study(400)
	id := p.submit()
	p.done(id, 2)
	pod := p.status(id).Cluster.Pod
	resume := p.cluster.Pause(t)
	s := p.status(id)
	if s.State != "RUNNING" || !s.Driver.Alive || s.Cluster == nil || s.Cluster.Phase != "unknown" || !strings.Contains(s.Cluster.Message, "cannot be asked") {
		t.Errorf("unanswered, it is %+v, driver %+v, cluster %+v", s, s.Driver, s.Cluster)
	}
	if _, err := p.mops("jobs", "resume", id); err == nil {
		t.Error("it was resumed while its driver lives")
	}
	_, words, err := p.run("jobs", "cancel", id)
	if err != nil || !strings.Contains(words, "stays in the cluster") {
		t.Errorf("cancelling it: %v\n%s", err, words)
	}
	p.until("the driver has ended", func() bool { _, has := p.exited(pod); return has })
	resume()
	if s := p.status(id); s.State != "CANCELLED" {
		t.Errorf("answering again, it is %+v", s)
	}
	p.until("the Job is complete", func() bool { has, _ := p.condition(id, batchv1.JobComplete); return has })
}

// A node that is no more takes its pod with it: the next one waits until the driver there
// has been silent for long enough, and when the machine turns out to have lived all the
// time, its driver writes nothing.
func TestKubernetesNodeLost(t *testing.T) {
	p := newInCluster(t)
	p.study(80)
	id := p.submit()
	p.done(id, 4)
	s := p.status(id)
	pod, node := s.Cluster.Pod, s.Cluster.Node
	goOn := p.lose(pod)
	if _, err := p.kube.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}); err != nil {
		t.Fatal(err)
	}
	p.await(id, "on another pod", func(s clusterStatus) bool {
		if s.State != "RUNNING" {
			t.Fatalf("without its node it is %s (%s)", s.State, s.Reason)
		}
		return s.Cluster != nil && s.Cluster.Pod != pod && s.Driver.Alive && strings.Contains(s.Reason, "taken over")
	})
	goOn()
	p.until("the lost driver has ended", func() bool { _, has := p.exited(pod); return has })
	p.hurryUp()
	if s := p.ended(id, "SUCCEEDED"); s.Tasks["succeeded"] != 80 {
		t.Errorf("tasks = %v", s.Tasks)
	}
	log, err := os.ReadFile(filepath.Join(p.kubelet.dir(pod), "log"))
	if err != nil || strings.Count(string(log), "job was moved on") != 1 || strings.Contains(string(log), "told to stop") {
		t.Errorf("the lost driver's log: %v\n%s", err, log)
	}
}

// Where an environment names a cluster, nothing needs saying: the driver is a pod, and its
// tasks run on the Dask cluster that the environment file in the pod names.
func TestKubernetesDask(t *testing.T) {
	p := newInCluster(t)
	p.must("infra", "up", "--with-dask", "--workers", "1")
	p.schedulerOf("local.yaml")
	p.study(12)
	p.hurryUp()
	var submitted struct {
		ID       string `json:"job_id"`
		Executor string
		Driver   string
	}
	if err := json.Unmarshal([]byte(p.must("jobs", "submit", "study.json", "--json")), &submitted); err != nil {
		t.Fatal(err)
	}
	if submitted.Executor != "dask" || submitted.Driver != "kubernetes" {
		t.Errorf("tasks run by %s, driven from %s", submitted.Executor, submitted.Driver)
	}
	if s := p.ended(submitted.ID, "SUCCEEDED"); s.Tasks["succeeded"] != 12 {
		t.Errorf("tasks = %v", s.Tasks)
	}
}

// schedulerOf has the environment file of the pods name the scheduler that a file of this
// machine does: the cluster's own is only simulated.
func (p *inCluster) schedulerOf(file string) {
	t := p.person.t
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.person.work, "home", ".modelops", "bundle-env", file))
	if err != nil {
		t.Fatal(err)
	}
	here, _, err := contracts.ParseEnvironment(file, data)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: workspace.Environment, Namespace: p.kube.Namespace}}
	if err := p.kube.Get(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	mounted, _, err := contracts.ParseEnvironment("environment.yaml", secret.Data["environment.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	mounted.Compute.Scheduler, mounted.Compute.TLS = here.Compute.Scheduler, here.Compute.TLS
	if data, err = mounted.Marshal(); err != nil {
		t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"data": map[string][]byte{"environment.yaml": data}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.kube.Patch(t.Context(), secret, patch); err != nil {
		t.Fatal(err)
	}
}
