//go:build unix && kubernetes

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
	"github.com/modelops-suite/modelops-go/modelops/internal/workspace"
)

// TestKubernetesScript runs the scripts of testdata/kubernetes, each in an empty home, with
// a simulated cluster that is theirs together. NOBODY is the kubeconfig of one who may do
// nothing in it, but whose context has the administrator's name. "driver NAMESPACE NAME"
// has a pod there with the labels of a job's driver.
func TestKubernetesScript(t *testing.T) {
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 2})
	t.Cleanup(kubetest.Stop)
	admin, err := os.ReadFile(cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	nobody := filepath.Join(t.TempDir(), "nobody")
	if err := os.WriteFile(nobody, []byte(strings.ReplaceAll(string(admin), "user: admin", "user: nobody")), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/kubernetes",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("KUBECONFIG", cluster.Kubeconfig)
			env.Setenv("NOBODY", nobody)
			env.Setenv("GORACE", quickExit)
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "driver": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(cluster.Open(t, args[0]).Create(t.Context(), &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: args[1], Namespace: args[0], Labels: map[string]string{
					workspace.ComponentLabel: "driver", "app.kubernetes.io/part-of": "modelops", "app.kubernetes.io/instance": "dev"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: workspace.DriverContainer, Image: "x"}}},
			}, kube.ApplyOptions{}))
		}},
	})
}
