package workspace

import (
	"fmt"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
)

// What the images have, see docs/images.md: who they run as, and where their caches and
// their home are.
const (
	user     = int64(1000)
	homeDir  = "/var/lib/modelops"
	cacheDir = "/var/cache/modelops"
)

// Where pods have the environment.
const (
	secretDir       = "/etc/modelops/environment"
	environmentFile = "environment.yaml"
	registryCA      = "registry-ca.pem"
)

// The volumes of a pod.
const (
	scratchVolume     = "scratch" // the pod's own: home, temporary files, and the cache that is not the node's
	cacheVolume       = "cache"   // the node's
	environmentVolume = "environment"
	certificateVolume = "tls"
)

const roleKey = "modelops.io/role" // of the taint and the label of nodes that are for simulations

// pod is the pod of a component, but for its containers.
func (s Spec) pod(name, component string) corev1.PodTemplateSpec {
	labels := s.labels(name, component)
	if s.identity() != "" && component != "scheduler" {
		labels["azure.workload.identity/use"] = "true"
	}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels: labels,
			// What fills nodes up, and empties them, is the work: not who tidies up.
			Annotations: map[string]string{"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:           name,
			AutomountServiceAccountToken: new(bool),
			EnableServiceLinks:           new(bool),
			PriorityClassName:            s.Config.PriorityClass,
			SecurityContext:              podSecurity(),
			NodeSelector:                 maps.Clone(map[string]string(s.Config.NodeSelector)),
			Tolerations:                  s.tolerations(),
		},
	}
	if len(s.Config.NodeSelector) == 0 {
		template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 100, Preference: corev1.NodeSelectorTerm{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: roleKey, Operator: corev1.NodeSelectorOpExists}},
			}}},
		}}
	}
	if secret := s.Config.ImagePullSecret; secret != "" {
		template.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: secret}}
	}
	return template
}

func (s Spec) tolerations() []corev1.Toleration {
	list := []corev1.Toleration{{Key: roleKey, Operator: corev1.TolerationOpExists}}
	for _, t := range s.Config.Tolerations {
		toleration := corev1.Toleration{Key: t.Key, Operator: corev1.TolerationOpEqual, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)}
		if t.Value == "" {
			toleration.Operator = corev1.TolerationOpExists
		}
		list = append(list, toleration)
	}
	return list
}

// withEnvironment gives the pod the environment file, a home, and a cache, all of them its
// user's alone: the caches refuse what others could write to, and volumes begin as
// everybody's. node says that the cache is the node's.
func (s Spec) withEnvironment(template *corev1.PodTemplateSpec, image, digest string, node bool) {
	template.Annotations["modelops.io/environment"] = digest
	spec := &template.Spec
	spec.Volumes = append(spec.Volumes,
		secretVolume(environmentVolume, Environment),
		corev1.Volume{Name: scratchVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	)
	prepare := s.container("prepare", image)
	// What "bundle-worker --version --json" says is kept as the container's message, for status.
	prepare.Command = []string{"sh", "-ec", fmt.Sprintf(
		"mkdir -p -m 0700 /scratch/tmp /scratch/home /scratch/home/bundle-env /scratch/cache\n"+
			"install -m 0600 %s/%s /scratch/home/bundle-env/%s.yaml\n"+
			"bundle-worker --version --json > /dev/termination-log", secretDir, environmentFile, s.Environment.Environment)}
	prepare.Resources = requests("50m", "64Mi")
	prepare.VolumeMounts = []corev1.VolumeMount{{Name: scratchVolume, MountPath: "/scratch"}, {Name: environmentVolume, MountPath: secretDir, ReadOnly: true}}
	spec.InitContainers = append(spec.InitContainers, prepare)
	if node {
		s.withNodeCache(spec, image)
	}
}

// withNodeCache gives the pod a directory of its node. The kubelet makes it as root's; the
// one thing that runs as root gives it to the workers, with no other right.
func (s Spec) withNodeCache(spec *corev1.PodSpec, image string) {
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: cacheVolume, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
		Path: s.Config.CachePath + "/" + s.Namespace(), Type: new(corev1.HostPathDirectoryOrCreate),
	}}})
	own := s.container("own-cache", image)
	own.Command = []string{"sh", "-ec", fmt.Sprintf("mkdir -p -m 0700 /node/cache\nchown %d:%d /node/cache", user, user)}
	own.Resources = requests("50m", "64Mi")
	own.VolumeMounts = []corev1.VolumeMount{{Name: cacheVolume, MountPath: "/node"}}
	own.SecurityContext.RunAsUser, own.SecurityContext.RunAsGroup, own.SecurityContext.RunAsNonRoot = new(int64(0)), new(int64(0)), new(false)
	own.SecurityContext.Capabilities.Add = []corev1.Capability{"CHOWN"}
	spec.InitContainers = append(spec.InitContainers, own)
}

// mounts are where a container finds what [Spec.withEnvironment] made.
func mounts(node bool) []corev1.VolumeMount {
	cache := corev1.VolumeMount{Name: scratchVolume, MountPath: cacheDir, SubPath: "cache"}
	if node {
		cache.Name = cacheVolume
	}
	return []corev1.VolumeMount{
		{Name: scratchVolume, MountPath: "/tmp", SubPath: "tmp"},
		{Name: scratchVolume, MountPath: homeDir, SubPath: "home"},
		cache,
		{Name: environmentVolume, MountPath: secretDir, ReadOnly: true},
	}
}

// variables say to the suite's programs where things are.
func (s Spec) variables() []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: "HOME", Value: homeDir},
		{Name: "MODELOPS_HOME", Value: homeDir},
		{Name: "MODELOPS_ENV", Value: s.Environment.Environment},
		{Name: "MODELOPS_BUNDLE_ENV_FILE", Value: homeDir + "/bundle-env/" + s.Environment.Environment + ".yaml"},
		{Name: "MODELOPS_BUNDLES_CACHE_DIR", Value: cacheDir + "/bundles"},
		{Name: "MODELOPS_VENVS_DIR", Value: cacheDir + "/venvs"},
		{Name: "TMPDIR", Value: "/tmp"},
	}
}

// container is one without any right.
func (s Spec) container(name, image string) corev1.Container {
	return corev1.Container{
		Name: name, Image: image, ImagePullPolicy: corev1.PullPolicy(s.Config.ImagePullPolicy),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: new(user), RunAsGroup: new(user), RunAsNonRoot: new(true),
			ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false), Privileged: new(false),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

func podSecurity() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		FSGroup: new(user), FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// requests are of a container that has these cores, and this memory at most.
func requests(cpu, memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memory)},
	}
}

// driver is the pattern of a job's driver: a PodTemplate, from which a Job is made with the
// arguments of its container "driver" filled in.
func (s Spec) driver(digest string) *corev1.PodTemplate {
	template := s.pod(DriverTemplate, "driver")
	s.withEnvironment(&template, s.Config.DriverImage, digest, false)
	driver := s.container(DriverContainer, s.Config.DriverImage)
	driver.Env = s.variables()
	driver.Resources = requests(s.Config.DriverCPU, s.Config.DriverMemory)
	driver.VolumeMounts = mounts(false)
	driver.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	template.Spec.Containers = []corev1.Container{driver}
	s.withCertificate(&template)
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	template.Spec.TerminationGracePeriodSeconds = new(int64(60))
	return &corev1.PodTemplate{ObjectMeta: s.meta(DriverTemplate, "driver"), Template: template}
}

// threads is how many tasks of one core a worker runs at once.
func (s Spec) threads() int64 {
	cpu := resource.MustParse(s.Config.WorkerCPU)
	return max(1, cpu.MilliValue()/1000)
}

// workerArgs are the arguments of "dask worker". The tasks' memory is the container's: Dask
// itself has none of it, and no opinion of it.
func (s Spec) workerArgs() []string {
	memory := resource.MustParse(s.Config.WorkerMemory)
	threads := strconv.FormatInt(s.threads(), 10)
	return append(tlsArgs(),
		fmt.Sprintf("tls://%s:%d", Scheduler, schedulerPort), "--name", "$(POD_NAME)", "--nthreads", threads, "--memory-limit", "0",
		"--local-directory", "/tmp", "--resources", "cores="+threads+" memory="+strconv.FormatInt(memory.Value(), 10))
}

// onNode says whether the workers of a node have one cache.
func (s Spec) onNode() bool { return s.Config.Cache == config.NodeCache }
