// Package workspace is what runs in a Kubernetes cluster so that jobs can: a Dask scheduler,
// workers that come and go with the work, and the pattern of a job's driver. [Objects] makes
// the manifests, from the configuration and the environment file alone; [Workspace] puts
// them into a cluster, looks at what runs there, and takes it away.
//
// Everything lies in one namespace, and is labelled
//
//	app.kubernetes.io/name: modelops-worker     of this very thing
//	app.kubernetes.io/part-of: modelops
//	app.kubernetes.io/managed-by: modelops
//	app.kubernetes.io/instance: dev             the environment
//	modelops.io/component: worker               scheduler, worker or driver; workspace for the rest
//	modelops.io/workspace: dev                  what "up" applied, and prunes
//
// The last is on no pod, and on nothing that a job makes. The PodTemplate [DriverTemplate]
// is a contract: who submits a job makes a Job from it, with the arguments of its container
// [DriverContainer], and needs to know nothing else of the workspace.
//
// Workers are never killed at work. Whatever ends one (fewer are needed, a new version, a
// node that is drained) sends it SIGTERM and then waits for workspace.grace_minutes; the
// image's drain.py takes no more tasks and finishes those that run. How many there are is
// decided in the scheduler, which alone knows who is idle: see scale.py and docs/adr/0011.
package workspace

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// The names of what there is in the namespace.
const (
	Scheduler      = "modelops-scheduler"
	Worker         = "modelops-worker"
	DriverTemplate = "modelops-driver"      // a core/v1 PodTemplate
	Environment    = "modelops-environment" // a Secret with the environment file
	scaler         = "modelops-scaler"      // a ConfigMap with the program that decides how many workers there are

	// DriverContainer is the container of the driver's pod whose arguments a job fills in.
	DriverContainer = "driver"
)

// The labels.
const (
	ComponentLabel = "modelops.io/component"
	workspaceLabel = "modelops.io/workspace"
	partLabel      = "app.kubernetes.io/part-of"
	part           = "modelops"
)

// The ports of the scheduler.
const (
	schedulerPort = 8786
	DashboardPort = 8787
)

// Spec says what a workspace is like.
type Spec struct {
	Config      config.Workspace
	Environment *contracts.BundleEnvironment // as the environment file has it
	RegistryCA  []byte                       // of the file that registry.ca_file names; nil for none
	Cluster     *infra.KubernetesCluster     // that "mops infra up" made for the environment; nil for none
	Certificate *certificate.Shared          // of the Secret [Certificate]; nil for one that others put there
}

// NewSpec is the workspace of an environment. Files of this machine that the environment
// file names are read.
func NewSpec(conf config.Workspace, env *contracts.BundleEnvironment) (Spec, error) {
	s := Spec{Config: conf, Environment: env}
	if env.Storage == nil || env.Storage.Provider == "fs" {
		return s, &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageProvision,
			Message: "environment " + env.Environment + " has no storage that a cluster reaches", Hint: "a workspace needs a bucket or a container: docs/workspace.md"}
	}
	if env.Registry.CAFile == "" {
		return s, nil
	}
	data, err := os.ReadFile(env.Registry.CAFile)
	if err != nil {
		return s, (&contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision, Message: "registry.ca_file: " + err.Error()}).Because(err)
	}
	s.RegistryCA = data
	return s, nil
}

// Namespace is the namespace's name.
func (s Spec) Namespace() string {
	named := s.Config.Namespace
	if compute := s.Environment.Compute; named == "" && compute != nil && compute.Kubernetes != nil {
		named = compute.Kubernetes.Namespace
	}
	return infra.Namespace(s.Environment.Environment, named)
}

// Compute is what the environment file says of the workspace: where jobs run.
func (s Spec) Compute() *contracts.Compute {
	return &contracts.Compute{
		Provider:   "dask",
		Scheduler:  fmt.Sprintf("tls://%s.%s.svc:%d", Scheduler, s.Namespace(), schedulerPort),
		TLS:        tlsFiles(),
		Kubernetes: &contracts.ComputeKubernetes{Context: s.Context(), Namespace: s.Namespace()},
	}
}

// Made says whether an environment file names this workspace. Earlier versions had none of
// TLS.
func (s Spec) Made(compute *contracts.Compute) bool {
	if compute == nil {
		return false
	}
	_, named, _ := strings.Cut(compute.Scheduler, "://")
	_, own, _ := strings.Cut(s.Compute().Scheduler, "://")
	return named == own
}

// Context is the kubeconfig's context that the workspace is in; empty for the current one.
func (s Spec) Context() string {
	if s.Config.Context != "" {
		return s.Config.Context
	}
	if compute := s.Environment.Compute; compute != nil && compute.Kubernetes != nil {
		return compute.Kubernetes.Context
	}
	if s.Cluster != nil {
		return s.Cluster.Context
	}
	return ""
}

// identity is who workers and drivers are to Azure; empty for nobody.
func (s Spec) identity() string {
	if s.Config.IdentityClientID == "" && s.Cluster != nil {
		return s.Cluster.WorkerClientID
	}
	return s.Config.IdentityClientID
}

// Objects are the manifests, in the order in which they can be applied.
func Objects(s Spec) ([]kube.Object, error) {
	secret, err := s.secret()
	if err != nil {
		return nil, err
	}
	digest := digestOf(secret.Data)
	objects := []kube.Object{
		s.namespace(), secret,
	}
	if s.Certificate != nil {
		objects = append(objects, s.certificate(s.Certificate))
	}
	objects = append(objects,
		s.scaler(),
		s.serviceAccount(Scheduler, "scheduler", false), s.serviceAccount(Worker, "worker", true), s.serviceAccount(DriverTemplate, "driver", true),
		s.scalerRole(), s.scalerBinding(),
		s.scheduler(), s.service(), s.worker(digest), s.disruptionBudget(), s.driver(digest),
	)
	if s.Config.NetworkPolicy {
		objects = append(objects, s.networkPolicy())
	}
	for _, o := range objects {
		o.GetObjectKind().SetGroupVersionKind(kube.Kind(o))
	}
	return objects, nil
}

// meta is the metadata of one object of the workspace.
func (s Spec) meta(name, component string) metav1.ObjectMeta {
	labels := s.labels(name, component)
	labels[workspaceLabel] = s.Environment.Environment
	return metav1.ObjectMeta{Name: name, Namespace: s.Namespace(), Labels: labels}
}

// labels are those of an object, and of its pods.
func (s Spec) labels(name, component string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": name, "app.kubernetes.io/instance": s.Environment.Environment, partLabel: part,
		"app.kubernetes.io/managed-by": kube.FieldManager, ComponentLabel: component,
	}
}

// pick selects the pods of a component.
func (s Spec) pick(component string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{
		partLabel: part, "app.kubernetes.io/instance": s.Environment.Environment, ComponentLabel: component,
	}}
}

// own selects all pods of the workspace, drivers of jobs and what others label so included.
func (s Spec) own() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{partLabel: part, "app.kubernetes.io/instance": s.Environment.Environment}}
}

// mounted is the environment file as pods have it: of the cluster's own place, and without
// what only says when it was written.
func (s Spec) mounted() ([]byte, error) {
	env := *s.Environment
	env.Timestamp, env.Compute = "", s.Compute()
	env.Compute.Kubernetes.Context = "" // of the submitter's kubeconfig
	if s.RegistryCA != nil {
		env.Registry.CAFile = secretDir + "/" + registryCA
	}
	return env.Marshal()
}

// secret has the environment file, and what it names.
func (s Spec) secret() (*corev1.Secret, error) {
	file, err := s.mounted()
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{environmentFile: file}
	if s.RegistryCA != nil {
		data[registryCA] = s.RegistryCA
	}
	return &corev1.Secret{ObjectMeta: s.meta(Environment, "workspace"), Type: corev1.SecretTypeOpaque, Data: data}, nil
}

// digestOf changes when what it is of does, so that pods are made anew.
func digestOf(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		h.Write([]byte(key + "\x00"))
		h.Write(data[key])
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
