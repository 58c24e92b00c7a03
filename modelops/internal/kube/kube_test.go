//go:build unix

package kube_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

func wantCode(t *testing.T, err error, code contracts.Code, message, hint string) {
	t.Helper()
	e := contracts.AsError(err)
	if e == nil || e.Code != code || !strings.Contains(e.Message, message) || !strings.Contains(e.Hint, hint) {
		t.Errorf("got %+v, want %s with %q and hint %q", e, code, message, hint)
	}
}

// variables are an environment with no cluster in it, and these.
func variables(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

const twoContexts = `{apiVersion: v1, kind: Config, current-context: one,
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {token: t}}],
contexts: [{name: one, context: {cluster: c, user: u, namespace: theirs}}, {name: two, context: {cluster: c, user: u}}]}`

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(twoContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".kube", "config"), []byte(twoContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		place              kube.Place
		context, namespace string
	}{
		{kube.Place{Getenv: variables("KUBECONFIG", file)}, "one", "theirs"},
		{kube.Place{Getenv: variables("HOME", home)}, "one", "theirs"},
		{kube.Place{Getenv: variables("KUBECONFIG", filepath.Join(dir, "none")+":"+file), Context: "two"}, "two", "default"},
		{kube.Place{Getenv: variables(), Kubeconfig: file, Namespace: "mine"}, "one", "mine"},
	} {
		c, err := kube.Open(test.place)
		if err != nil || c.Context != test.context || c.Namespace != test.namespace {
			t.Errorf("%+v: %+v %v", test, c, err)
		}
	}
	_, err := kube.Open(kube.Place{Getenv: variables("KUBECONFIG", file), Context: "three"})
	wantCode(t, err, contracts.CodeNotFound, `no context "three"`, "one, two")
	_, err = kube.Open(kube.Place{Getenv: variables("HOME", dir)})
	wantCode(t, err, contracts.CodeNotFound, "there is no kubeconfig", "KUBECONFIG")
	if err := os.WriteFile(file, []byte("[}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = kube.Open(kube.Place{Getenv: variables("KUBECONFIG", file)})
	wantCode(t, err, contracts.CodeFailed, "kubeconfig", "")
}

func TestUnreachable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(twoContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Open(kube.Place{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Version(t.Context())
	wantCode(t, err, contracts.CodeUnavailable, "https://127.0.0.1:1 does not answer", "network")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantCode(t, c.List(ctx, &corev1.PodList{}, kube.Selection{}), contracts.CodeInterrupted, "list pods", "")
}
