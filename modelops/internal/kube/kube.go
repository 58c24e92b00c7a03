// Package kube is the suite's connection with a Kubernetes cluster: the one place that
// imports k8s.io/client-go. What runs in a cluster is written with the types of k8s.io/api
// by the packages that know it, and goes through here:
//
//	cluster, err := kube.Open(kube.Place{Getenv: env.Getenv, Namespace: "modelops-dask-dev"})
//	err = cluster.Apply(ctx, deployment, kube.ApplyOptions{})
//	for event, err := range cluster.Watch(ctx, &corev1.PodList{}, kube.Selection{Labels: "app=x"}) { … }
//
// Objects are addressed as they are: by kind, name, and the namespace that they carry,
// which is empty for what lies in no namespace. Every write is judged strictly: a field
// that the API server does not know is an error, never dropped.
//
// Errors are envelopes: the API does not answer ([contracts.CodeUnavailable]), it does not
// know who asks (CodeUnauthenticated) or does not let them (CodeDenied), the thing is not
// there (CodeNotFound), somebody else has or changed it (CodeConflict), or is not valid, in
// the API server's own words (CodeFailed). Nobody's kubeconfig is ever written.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/modelops-suite/modelops-go/contracts"
)

// FieldManager is whose the fields are that are applied here.
const FieldManager = "modelops"

// callTimeout bounds a call that is answered at once; watching and following is not bounded.
const callTimeout = 30 * time.Second

// Place says which cluster, and where in it.
type Place struct {
	// Getenv reads KUBECONFIG and HOME; nil reads the process's own.
	Getenv func(string) string
	// Kubeconfig is a file that is used instead of those of KUBECONFIG, or of ~/.kube/config.
	Kubeconfig string
	// Context is one of the kubeconfig's; empty for the current one.
	Context string
	// Namespace is used where a call needs one; empty for the context's, or the pod's own.
	Namespace string
	// Warn is told what the API server warns of; nil for nobody.
	Warn func(line string)
}

// Cluster is a cluster, as somebody with an identity of their own sees it. It is safe for
// several goroutines.
type Cluster struct {
	Namespace string // never empty
	Context   string // of the kubeconfig; empty inside of a pod
	config    *rest.Config

	mu      sync.Mutex
	clients map[schema.GroupVersion]*rest.RESTClient
}

// Open finds the cluster: by the kubeconfig, else, inside of a pod, by its service account.
// In a pod without a kubeconfig the context is not looked at: it is a name of the
// submitter's. Nothing is asked of the cluster yet.
func Open(p Place) (*Cluster, error) {
	quiet()
	if p.Getenv == nil {
		p.Getenv = os.Getenv
	}
	files := p.files()
	if len(files) == 0 && p.Kubeconfig == "" && p.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return p.inCluster()
	}
	if len(files) == 0 {
		return nil, &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageEnvironment,
			Message: "there is no kubeconfig: " + contracts.Quote(strings.Join(p.candidates(), string(os.PathListSeparator))),
			Hint:    "KUBECONFIG names one; for AKS: az aks get-credentials --file FILE"}
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files}
	loaded, err := rules.Load()
	if err != nil {
		return nil, invalid("kubeconfig "+contracts.Quote(strings.Join(files, string(os.PathListSeparator))), err)
	}
	config := clientcmd.NewNonInteractiveClientConfig(*loaded, p.Context, &clientcmd.ConfigOverrides{CurrentContext: p.Context}, rules)
	return p.fromKubeconfig(loaded, config, files)
}

func (p Place) fromKubeconfig(loaded *clientcmdapi.Config, config clientcmd.ClientConfig, files []string) (*Cluster, error) {
	name := p.Context
	if name == "" {
		name = loaded.CurrentContext
	}
	where := "kubeconfig " + contracts.Quote(strings.Join(files, string(os.PathListSeparator)))
	if loaded.Contexts[name] == nil {
		e := &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageEnvironment, Message: where + " has no context " + contracts.Quote(name)}
		if name == "" {
			e.Message = where + " has no current context"
		}
		if names := slices.Sorted(maps.Keys(loaded.Contexts)); len(names) > 0 {
			e.Hint = "it has " + strings.Join(names, ", ")
		}
		return nil, e
	}
	client, err := config.ClientConfig()
	if err != nil {
		return nil, invalid(where, err)
	}
	namespace := p.Namespace
	if namespace == "" {
		if namespace, _, err = config.Namespace(); err != nil {
			return nil, invalid(where, err)
		}
	}
	return p.cluster(client, namespace, name), nil
}

// inCluster is the cluster of the pod that this process runs in.
func (p Place) inCluster() (*Cluster, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, (&contracts.Error{Code: contracts.CodeUnauthenticated, Stage: contracts.StageEnvironment, Message: "the pod's service account: " + err.Error(),
			Hint: "the pod needs automountServiceAccountToken"}).Because(err)
	}
	namespace := p.Namespace
	if namespace == "" {
		data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
		if err != nil {
			return nil, (&contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageEnvironment, Message: "the pod's namespace: " + err.Error()}).Because(err)
		}
		namespace = strings.TrimSpace(string(data))
	}
	return p.cluster(config, namespace, ""), nil
}

func (p Place) cluster(config *rest.Config, namespace, name string) *Cluster {
	config = rest.CopyConfig(config)
	config.UserAgent = FieldManager
	config.QPS, config.Burst = 50, 100 // the API server has its own limits, and says so
	config.WarningHandler = warner(p.Warn)
	return &Cluster{Namespace: namespace, Context: name, config: config, clients: map[schema.GroupVersion]*rest.RESTClient{}}
}

// candidates are the kubeconfigs that would be read, by kubectl's rules.
func (p Place) candidates() []string {
	switch list := p.Getenv(clientcmd.RecommendedConfigPathEnvVar); {
	case p.Kubeconfig != "":
		return []string{p.Kubeconfig}
	case list != "":
		return slices.DeleteFunc(filepath.SplitList(list), func(file string) bool { return file == "" })
	}
	home := p.Getenv("HOME")
	if home == "" {
		home, _ = os.UserHomeDir() // then there is none
	}
	return []string{filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)}
}

// files are the candidates that are there. One that cannot be looked at stays: reading it
// says why.
func (p Place) files() []string {
	return slices.DeleteFunc(p.candidates(), func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// Host is the API server's address.
func (c *Cluster) Host() string { return c.config.Host }

// Version is that of the API server, as in v1.34.2: the cheapest way to see whether it
// answers, and lets somebody in.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	client, err := c.client(schema.GroupVersion{Version: "v1"})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, err := client.Get().AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return "", c.translate(ctx, "look at", "the cluster", err)
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return "", invalid("the answer of "+contracts.Quote(c.Host()), err)
	}
	return version.GitVersion, nil
}

// client speaks one version of a group of the API.
func (c *Cluster) client(version schema.GroupVersion) (*rest.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client := c.clients[version]; client != nil {
		return client, nil
	}
	config := rest.CopyConfig(c.config)
	config.GroupVersion = &version
	config.NegotiatedSerializer = words().codecs.WithoutConversion()
	config.APIPath = "/apis"
	if version.Group == "" {
		config.APIPath = "/api"
	}
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, invalid("the connection with "+contracts.Quote(c.Host()), err)
	}
	c.clients[version] = client
	return client, nil
}

// quiet keeps client-go from writing to the terminal of its own accord: what it says there
// comes back as an error, too.
var quiet = sync.OnceFunc(func() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
})

// warner passes on what the API server warns of.
type warner func(line string)

// HandleWarningHeader implements [rest.WarningHandler].
func (w warner) HandleWarningHeader(code int, _ string, text string) {
	const miscellaneous = 299 // RFC 7234, the only code that the API server uses
	if w != nil && code == miscellaneous && text != "" {
		w(text)
	}
}
