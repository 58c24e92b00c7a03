package config

import (
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Workspace is what runs in a Kubernetes cluster, anybody's, so that jobs can.
type Workspace struct {
	Namespace        string // empty to derive it
	Context          string // of the kubeconfig; empty for the environment file's, or the current one
	SchedulerImage   string
	WorkerImage      string
	DriverImage      string
	ImagePullPolicy  string
	ImagePullSecret  string // one of the namespace's; empty for none
	MinWorkers       int64
	MaxWorkers       int64
	IdleMinutes      int64 // after which a worker without work goes
	GraceMinutes     int64 // that a worker which is to go may take for what it runs
	WorkerCPU        string
	WorkerMemory     string
	SchedulerCPU     string
	SchedulerMemory  string
	DriverCPU        string
	DriverMemory     string
	Cache            string // NodeCache or PodCache
	CachePath        string // on the node
	NodeSelector     Selector
	Tolerations      []Toleration
	PriorityClass    string // empty for the cluster's default
	IdentityClientID string // of Azure's workload identity; empty for none
	NetworkPolicy    bool
}

// The values of workspace.cache.
const (
	NodeCache = "node" // one for all pods of a node
	PodCache  = "pod"  // one for each pod
)

// Selector are labels that a node must have.
type Selector map[string]string

// Toleration is a taint that pods bear.
type Toleration Taint

const (
	imagePattern    = `^[a-z0-9.:_/-]+(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}$`
	quantityPattern = `^[0-9]+(\.[0-9]+)?(m|[KMGT]i?|k)?$`
	objectPattern   = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
)

// The bounds of the section's numbers.
const (
	maxWorkers = 10_000
	maxMinutes = 7 * 24 * 60
)

func workspaceKeys() []Key {
	image := func(path, what string, at func(*Config) any) Key {
		return Key{
			Path: path, Kind: contracts.KindString, Pattern: imagePattern, at: at,
			Doc:  "The image of " + what + ", by digest, as in `registry.example.org/modelops-worker@sha256:…`. Required for `mops workspace`",
			rule: matching(imagePattern, "is no image by digest", "a tag can come to mean something else: write NAME@sha256:…; docker buildx imagetools inspect NAME:TAG shows it"),
		}
	}
	keys := []Key{
		{
			Path: "workspace.namespace", Kind: contracts.KindString, Pattern: objectPattern,
			Doc:  "The namespace. Absent: the one in the environment file, or `modelops-dask-` and the environment's name",
			at:   func(c *Config) any { return &c.Workspace.Namespace },
			rule: objectName,
		},
		{
			Path: "workspace.context", Kind: contracts.KindString,
			Doc: "The context of the kubeconfig. Absent: the one in the environment file, or the current one",
			at:  func(c *Config) any { return &c.Workspace.Context },
		},
		image("workspace.scheduler_image", "the Dask scheduler", func(c *Config) any { return &c.Workspace.SchedulerImage }),
		image("workspace.worker_image", "the workers", func(c *Config) any { return &c.Workspace.WorkerImage }),
		image("workspace.driver_image", "the drivers of jobs", func(c *Config) any { return &c.Workspace.DriverImage }),
		{
			Path: "workspace.image_pull_policy", Kind: contracts.KindString, Words: []string{"Always", "IfNotPresent", "Never"}, Default: "IfNotPresent",
			Doc: "When nodes pull images",
			at:  func(c *Config) any { return &c.Workspace.ImagePullPolicy },
		},
		{
			Path: "workspace.image_pull_secret", Kind: contracts.KindString, Pattern: objectPattern,
			Doc:  "A Secret of the namespace, of type `kubernetes.io/dockerconfigjson`, with the login of the images' registry. Absent: nodes may pull as they are",
			at:   func(c *Config) any { return &c.Workspace.ImagePullSecret },
			rule: objectName,
		},
	}
	return append(append(keys, workspaceSizeKeys()...), workspacePlaceKeys()...)
}

// workspaceSizeKeys say how much there is of what.
func workspaceSizeKeys() []Key {
	number := func(path, value string, most int64, doc string, at func(*Config) any) Key {
		return Key{Path: path, Kind: contracts.KindInt, Default: value, Max: most, Doc: doc, at: at}
	}
	quantity := func(path, value, doc string, at func(*Config) any) Key {
		return Key{Path: path, Kind: contracts.KindString, Default: value, Pattern: quantityPattern, Doc: doc, at: at, rule: quantityRule}
	}
	return []Key{
		number("workspace.min_workers", "0", maxWorkers, "Workers that are always there", func(c *Config) any { return &c.Workspace.MinWorkers }),
		number("workspace.max_workers", "10", maxWorkers, "Workers that there are at most", func(c *Config) any { return &c.Workspace.MaxWorkers }),
		number("workspace.idle_minutes", "10", maxMinutes, "Minutes without work after which a worker above `min_workers` goes", func(c *Config) any { return &c.Workspace.IdleMinutes }),
		number("workspace.grace_minutes", "60", maxMinutes, "Minutes that a worker which has to go may take for the tasks that it runs; what is not done then runs again elsewhere", func(c *Config) any { return &c.Workspace.GraceMinutes }),
		quantity("workspace.worker_cpu", "2", "Cores of a worker, and so how many tasks of one core it runs at once, in quotes as in `\"4\"`", func(c *Config) any { return &c.Workspace.WorkerCPU }),
		quantity("workspace.worker_memory", "4Gi", "Memory of a worker, requested and the limit", func(c *Config) any { return &c.Workspace.WorkerMemory }),
		quantity("workspace.scheduler_cpu", "1", "Cores that the scheduler requests", func(c *Config) any { return &c.Workspace.SchedulerCPU }),
		quantity("workspace.scheduler_memory", "2Gi", "Memory of the scheduler, requested and the limit", func(c *Config) any { return &c.Workspace.SchedulerMemory }),
		quantity("workspace.driver_cpu", "1", "Cores that a job's driver requests", func(c *Config) any { return &c.Workspace.DriverCPU }),
		quantity("workspace.driver_memory", "2Gi", "Memory of a job's driver, requested and the limit", func(c *Config) any { return &c.Workspace.DriverMemory }),
	}
}

// workspacePlaceKeys say where and as whom pods run.
func workspacePlaceKeys() []Key {
	return []Key{
		{
			Path: "workspace.cache", Kind: contracts.KindString, Words: []string{NodeCache, PodCache}, Default: NodeCache,
			Doc: "Bundles and Python environments are kept once for all workers of a node, in a directory of it, or by each pod for itself, where the cluster allows no such directory",
			at:  func(c *Config) any { return &c.Workspace.Cache },
		},
		{
			Path: "workspace.cache_path", Kind: contracts.KindString, Default: "/var/lib/modelops", Pattern: `^/[A-Za-z0-9._/-]+$`,
			Doc:  "The directory of the node; each workspace has one of its own in it",
			at:   func(c *Config) any { return &c.Workspace.CachePath },
			rule: nodePath,
		},
		{
			Path: "workspace.node_selector", Kind: contracts.KindMap,
			Doc: "Labels of the nodes that pods may run on. Absent: any, rather those with a label `modelops.io/role`",
			at:  func(c *Config) any { return &c.Workspace.NodeSelector },
		},
		{
			Path: "workspace.tolerations", Kind: contracts.KindList,
			Doc: "Taints that pods bear, as in `[\"key=value:NoSchedule\"]`, beside those of the key `modelops.io/role`",
			at:  func(c *Config) any { return &c.Workspace.Tolerations },
		},
		{
			Path: "workspace.priority_class", Kind: contracts.KindString, Pattern: objectPattern,
			Doc:  "A PriorityClass of the cluster, for all pods. Absent: its default",
			at:   func(c *Config) any { return &c.Workspace.PriorityClass },
			rule: objectName,
		},
		{
			Path: "workspace.identity_client_id", Kind: contracts.KindString, Pattern: guidPattern,
			Doc:  "The client of Azure's workload identity that workers and drivers are. Absent: that of the cluster which `mops infra up` made, if it made one",
			at:   func(c *Config) any { return &c.Workspace.IdentityClientID },
			rule: guidRule("az identity show --name NAME --resource-group GROUP --query clientId --output tsv"), tidy: strings.ToLower,
		},
		{
			Path: "workspace.network_policy", Kind: contracts.KindBool, Default: "true",
			Doc: "Let nobody but the workspace's own pods reach the scheduler and the workers, where the cluster enforces policies",
			at:  func(c *Config) any { return &c.Workspace.NetworkPolicy },
		},
	}
}

// checkWorkspace adds the faults that show only in several keys of the section together.
func (c *Config) checkWorkspace(l *problems) {
	w := c.Workspace
	if w.MinWorkers > w.MaxWorkers {
		l.add("workspace.max_workers", "is less than min_workers", "write at least as many")
	}
	if w.MaxWorkers == 0 {
		l.add("workspace.max_workers", "is 0", "write 1 or more: without a worker nothing runs")
	}
	for _, key := range workspacePlaceKeys() {
		if key.Path == "workspace.cache_path" && w.Cache == PodCache && w.CachePath != key.Default {
			l.add(key.Path, "has no effect with cache: pod", "leave it out, or write cache: node")
		}
	}
}

// RequireWorkspace is an error when c, from a file, lacks what a workspace needs.
func (c *Config) RequireWorkspace(file string) error {
	l := &problems{}
	for _, key := range workspaceKeys() {
		if strings.HasSuffix(key.Path, "_image") && key.Text(c) == "" {
			l.add(key.Path, "is missing", "docs/workspace.md says how the images are made; write the digest that their push printed")
		}
	}
	return l.err(file)
}

func objectName(value string) (problem, hint string) {
	return matching(objectPattern, "is no name of Kubernetes's", "lower-case letters, digits and '-', at most 63")(value)
}

// quantityRule wants a quantity of Kubernetes, above zero.
func quantityRule(value string) (problem, hint string) {
	const form = "write it as in \"2\" or 500m for cores, and 4Gi for memory"
	if problem, hint = matching(quantityPattern, "is no quantity", form)(value); problem != "" {
		return problem, hint
	}
	if number := strings.TrimRight(value, "mkKMGTi"); strings.Trim(number, "0.") == "" {
		return "is no quantity above 0", form
	}
	return "", ""
}

func nodePath(value string) (problem, hint string) {
	const form = "write the path of a directory that is for this alone, as in /var/lib/modelops"
	if problem, hint = matching(`^/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$`, "is no directory below one of the root's", form)(value); problem != "" {
		return problem, hint
	}
	if strings.Contains(value+"/", "/../") || strings.Contains(value+"/", "/./") {
		return "has . or .. in it", form
	}
	return "", ""
}
