//go:build kubernetes

package jobscript

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/podjob"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

// kubelet runs the drivers' pods of a namespace, which the simulated nodes only seem to
// run: what their container says, with the variables that it says and the environment file
// that it mounts, as a process of this machine. It tells the pod's end, and serves its log.
type kubelet struct {
	t       *testing.T
	cluster *kubetest.Cluster
	kube    *kube.Cluster
	work    string

	mu    sync.Mutex
	pods  map[string]*exec.Cmd // by their names, also those that ended
	codes map[string]int       // the exit codes of those that ended
	lost  map[string]bool      // pods on machines that hear nothing of the cluster
	fails int                  // the exit code of containers that fail; 0 to run them
	wg    sync.WaitGroup
}

func startKubelet(t *testing.T, cluster *kubetest.Cluster, k *kube.Cluster, work string) *kubelet {
	t.Helper()
	l := &kubelet{t: t, cluster: cluster, kube: k, work: work, pods: map[string]*exec.Cmd{}, codes: map[string]int{}, lost: map[string]bool{}}
	server := httptest.NewTLSServer(http.HandlerFunc(l.serveLog))
	cluster.Kubelet(t, server.Listener.Addr().String())
	ctx, stop := context.WithCancel(context.Background())
	l.wg.Go(func() { l.watch(ctx) })
	t.Cleanup(func() {
		stop()
		l.mu.Lock()
		for _, cmd := range l.pods {
			_ = cmd.Process.Signal(syscall.SIGCONT)
			_ = cmd.Process.Kill() // it has ended, where the test went well
		}
		l.mu.Unlock()
		l.wg.Wait()
		server.CloseClientConnections()
		server.Close()
	})
	return l
}

func (l *kubelet) watch(ctx context.Context) {
	told := map[string]bool{}
	for event, err := range l.kube.Watch(ctx, &corev1.PodList{}, kube.Selection{Labels: podjob.JobLabel}) {
		if err != nil {
			continue // the test pauses the API server
		}
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		l.mu.Lock()
		cmd, fails, lost := l.pods[pod.Name], l.fails, l.lost[pod.Name]
		l.mu.Unlock()
		switch leaving := event.Deleted || pod.DeletionTimestamp != nil; {
		case cmd == nil && !leaving && pod.Status.Phase == corev1.PodRunning && fails == 0:
			if err := l.start(ctx, pod); err != nil {
				l.t.Errorf("pod %s: %v", pod.Name, err)
			}
		case cmd == nil && !leaving && pod.Status.Phase == corev1.PodRunning:
			l.end(pod.Name, fails)
		case cmd != nil && leaving && !lost && !told[pod.Name]:
			told[pod.Name] = true
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		}
	}
}

func (l *kubelet) dir(pod string) string { return filepath.Join(l.work, "pods", pod) }

func (l *kubelet) start(ctx context.Context, pod *corev1.Pod) error {
	dir := l.dir(pod.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	container := pod.Spec.Containers[0]
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "modelops-environment", Namespace: pod.Namespace}}
	if err := l.kube.Get(ctx, secret); err != nil {
		return err
	}
	file := filepath.Join(dir, "environment.yaml")
	if err := os.WriteFile(file, secret.Data["environment.yaml"], 0o600); err != nil {
		return err
	}
	// Where the container has directories of its own, the process has some of this machine.
	places := map[string]string{podjob.EnvFileVariable: file, "TMPDIR": l.work}
	for _, name := range []string{"HOME", "MODELOPS_HOME", "MODELOPS_BUNDLES_CACHE_DIR", "MODELOPS_VENVS_DIR"} {
		places[name] = filepath.Join(dir, strings.ToLower(name))
	}
	environ, args := []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, []string{}
	for _, v := range container.Env {
		value := v.Value
		if place, ok := places[v.Name]; ok {
			value = place
		}
		environ = append(environ, v.Name+"="+value)
	}
	for _, arg := range container.Args {
		args = append(args, strings.ReplaceAll(arg, "$("+podjob.EnvFileVariable+")", file))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, "mops"), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environ, log, log
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	l.mu.Lock()
	l.pods[pod.Name] = cmd
	l.mu.Unlock()
	l.wg.Go(func() {
		_ = cmd.Wait()
		_ = log.Close()
		code := cmd.ProcessState.ExitCode()
		if code < 0 {
			code = 128 + int(syscall.SIGKILL)
		}
		l.mu.Lock()
		l.codes[pod.Name] = code
		l.mu.Unlock()
		l.end(pod.Name, code)
	})
	return nil
}

// gone is a test for a pod that may be gone: then its end is told to nobody.
type gone struct{ testing.TB }

func (g gone) Fatal(args ...any) {
	g.Log(args...)
	runtime.Goexit()
}

func (l *kubelet) end(pod string, code int) {
	reason := "Error"
	if code == 0 {
		reason = "Completed"
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.cluster.End(gone{l.t}, l.kube.Namespace, pod, code, reason)
	}()
	<-done
}

// lose cuts the pod's machine off: it stands still, and is not told that the pod is to go.
// The function that it returns has the machine go on; what the cluster says still does not
// reach it.
func (l *kubelet) lose(pod string) (goOn func()) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost[pod] = true
	process := l.pods[pod].Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		l.t.Fatal(err)
	}
	return func() {
		l.t.Helper()
		if err := process.Signal(syscall.SIGCONT); err != nil {
			l.t.Fatal(err)
		}
	}
}

// exited says how the pod's process ended, and whether it has.
func (l *kubelet) exited(pod string) (code int, has bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	code, has = l.codes[pod]
	return code, has
}

// serveLog is what the API server asks for: the pod's log, to its end if that is wanted.
func (l *kubelet) serveLog(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "containerLogs" {
		http.NotFound(w, r)
		return
	}
	file, err := os.Open(filepath.Join(l.dir(filepath.Base(parts[2])), "log"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer func() { _ = file.Close() }()
	w.WriteHeader(http.StatusOK)
	_ = wait.PollUntilContextCancel(r.Context(), 50*time.Millisecond, true, func(context.Context) (bool, error) { // it ends as who follows goes
		_, ended := l.exited(parts[2])
		if _, err := io.Copy(w, file); err != nil {
			return false, err
		}
		return ended || r.URL.Query().Get("follow") != "true", http.NewResponseController(w).Flush()
	})
}

// inCluster is a person whose environment "cloud" names a namespace of a simulated cluster.
type inCluster struct {
	*person
	*kubelet
}

// cloudFile makes the environment "cloud": the local one's registry, other storage, and the
// cluster.
func (p *person) cloudFile(storage *contracts.Storage, namespace string) (*contracts.BundleEnvironment, error) {
	dir := filepath.Join(p.work, "home", ".modelops", "bundle-env")
	data, err := os.ReadFile(filepath.Join(dir, "local.yaml"))
	if err != nil {
		return nil, err
	}
	e, _, err := contracts.ParseEnvironment("local.yaml", data)
	if err != nil {
		return nil, err
	}
	e.Environment, e.Storage = "cloud", storage
	e.Compute = &contracts.Compute{Provider: "dask", Kubernetes: &contracts.ComputeKubernetes{Context: kubetest.Admin, Namespace: namespace}}
	if data, err = e.Marshal(); err != nil {
		return nil, fmt.Errorf("environment cloud: %w", err)
	}
	return e, os.WriteFile(filepath.Join(dir, "cloud.yaml"), data, 0o600)
}
