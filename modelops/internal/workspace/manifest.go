package workspace

import (
	_ "embed"
	"encoding/json"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// namespace is labelled with the strictest of the Pod Security Standards that the workspace
// keeps to: all of "restricted", but for a directory of the node where there is one.
func (s Spec) namespace() *corev1.Namespace {
	meta := s.meta(s.Namespace(), "workspace")
	meta.Namespace = ""
	enforced := "restricted"
	if s.onNode() {
		enforced = "privileged"
	}
	meta.Labels["pod-security.kubernetes.io/enforce"] = enforced
	return &corev1.Namespace{ObjectMeta: meta}
}

// serviceAccount is who a component's pods are. identity says that they may be somebody to
// the cloud.
func (s Spec) serviceAccount(name, component string, identity bool) *corev1.ServiceAccount {
	account := &corev1.ServiceAccount{ObjectMeta: s.meta(name, component), AutomountServiceAccountToken: new(bool)}
	if id := s.identity(); id != "" && identity {
		account.Annotations = map[string]string{"azure.workload.identity/client-id": id}
	}
	return account
}

//go:embed scale.py
var scaleProgram string

func (s Spec) scaler() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: s.meta(scaler, "scheduler"), Data: map[string]string{"scale.py": scaleProgram}}
}

// scalerRole lets the scheduler say how many workers there are, and which are idle.
func (s Spec) scalerRole() *rbacv1.Role {
	return &rbacv1.Role{ObjectMeta: s.meta(Scheduler, "scheduler"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale"}, ResourceNames: []string{Worker}, Verbs: []string{"get", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"patch"}},
	}}
}

func (s Spec) scalerBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: s.meta(Scheduler, "scheduler"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: Scheduler},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: Scheduler, Namespace: s.Namespace()}},
	}
}

func (s Spec) scheduler() *appsv1.Deployment {
	template := s.pod(Scheduler, "scheduler")
	template.Annotations["modelops.io/scaler"] = digestOf(map[string][]byte{"scale.py": []byte(scaleProgram)})
	c := s.container("scheduler", s.Config.SchedulerImage)
	c.Args = append(tlsArgs(), "--preload", "/etc/modelops/scaler/scale.py")
	c.Env = []corev1.EnvVar{
		encrypted(),
		{Name: "HOME", Value: "/tmp"}, {Name: "TMPDIR", Value: "/tmp"},
		{Name: "MODELOPS_NAMESPACE", Value: s.Namespace()}, {Name: "MODELOPS_WORKERS", Value: Worker},
		{Name: "MODELOPS_MIN_WORKERS", Value: strconv.FormatInt(s.Config.MinWorkers, 10)},
		{Name: "MODELOPS_MAX_WORKERS", Value: strconv.FormatInt(s.Config.MaxWorkers, 10)},
		{Name: "MODELOPS_IDLE_SECONDS", Value: strconv.FormatInt(60*s.Config.IdleMinutes, 10)},
		{Name: "MODELOPS_WORKER_THREADS", Value: strconv.FormatInt(s.threads(), 10)},
	}
	c.Ports = []corev1.ContainerPort{
		{Name: "scheduler", ContainerPort: schedulerPort, Protocol: corev1.ProtocolTCP}, {Name: "dashboard", ContainerPort: DashboardPort, Protocol: corev1.ProtocolTCP},
	}
	c.Resources = requests(s.Config.SchedulerCPU, s.Config.SchedulerMemory)
	// Who connects to the other port and leaves has it complain of a handshake that failed.
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("dashboard")}}, PeriodSeconds: 5}
	// Lost tasks cost more than a minute: it is busy more often than dead.
	c.LivenessProbe = &corev1.Probe{ProbeHandler: c.ReadinessProbe.ProbeHandler, InitialDelaySeconds: 30, PeriodSeconds: 20, TimeoutSeconds: 10, FailureThreshold: 9}
	c.VolumeMounts = []corev1.VolumeMount{{Name: scratchVolume, MountPath: "/tmp"}, {Name: "scaler", MountPath: "/etc/modelops/scaler", ReadOnly: true}}
	template.Spec.Containers = []corev1.Container{c}
	template.Spec.AutomountServiceAccountToken = new(true)
	template.Spec.Volumes = []corev1.Volume{
		{Name: scratchVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "scaler", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: scaler}}}},
	}
	s.withCertificate(&template)
	return s.deployment(Scheduler, "scheduler", template, appsv1.DeploymentSpec{
		Replicas: new(int32(1)),
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, // two would not know of each other
	})
}

func (s Spec) service() *corev1.Service {
	return &corev1.Service{ObjectMeta: s.meta(Scheduler, "scheduler"), Spec: corev1.ServiceSpec{
		Selector: s.pick("scheduler").MatchLabels,
		Ports: []corev1.ServicePort{
			{Name: "scheduler", Port: schedulerPort, TargetPort: intstr.FromString("scheduler"), Protocol: corev1.ProtocolTCP},
			{Name: "dashboard", Port: DashboardPort, TargetPort: intstr.FromString("dashboard"), Protocol: corev1.ProtocolTCP},
		},
	}}
}

// worker says nothing of how many there are: the scheduler does. A new workspace begins
// with one, which shows that its image can be pulled and runs.
func (s Spec) worker(digest string) *appsv1.Deployment {
	template := s.pod(Worker, "worker")
	s.withEnvironment(&template, s.Config.WorkerImage, digest, s.onNode())
	c := s.container("worker", s.Config.WorkerImage)
	c.Args = s.workerArgs()
	c.Env = append([]corev1.EnvVar{encrypted(), {Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}}}, s.variables()...)
	c.Resources = requests(s.Config.WorkerCPU, s.Config.WorkerMemory)
	c.VolumeMounts = mounts(s.onNode())
	template.Spec.Containers = []corev1.Container{c}
	s.withCertificate(&template)
	template.Spec.TerminationGracePeriodSeconds = new(60*s.Config.GraceMinutes + 30) // and as long as the image needs to close
	return s.deployment(Worker, "worker", template, appsv1.DeploymentSpec{RevisionHistoryLimit: new(int32(3))})
}

// versionAnnotation of a pod is the digest of all that was asked for when it was made: by it
// a pod of an earlier version is known.
const versionAnnotation = "modelops.io/version"

func (s Spec) deployment(name, component string, template corev1.PodTemplateSpec, spec appsv1.DeploymentSpec) *appsv1.Deployment {
	whole, err := json.Marshal(template)
	if err != nil {
		panic(err) // types of k8s.io/api are all convertible
	}
	template.Annotations[versionAnnotation] = digestOf(map[string][]byte{"template": whole})
	spec.Selector, spec.Template = s.pick(component), template
	return &appsv1.Deployment{ObjectMeta: s.meta(name, component), Spec: spec}
}

// disruptionBudget has who empties nodes wait for one worker after the other.
func (s Spec) disruptionBudget() *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{ObjectMeta: s.meta(Worker, "worker"), Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: new(intstr.FromInt32(1)), Selector: s.pick("worker"), UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
	}}
}

// networkPolicy lets the workspace's pods, drivers among them, reach each other, and nobody
// else reach them: whoever reaches a Dask scheduler runs code on its workers.
func (s Spec) networkPolicy() *networkingv1.NetworkPolicy {
	own := s.own()
	return &networkingv1.NetworkPolicy{ObjectMeta: s.meta("modelops-workspace", "workspace"), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: *own, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: own}}}},
	}}
}
