//go:build unix

package cache

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestFailuresLeaveNothing(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(n *testNode, w http.ResponseWriter, r *http.Request)
		want   contracts.Code
	}{
		"a blob is missing": {func(_ *testNode, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, contracts.CodeBundleNotFound},
		"one byte is wrong": {(*testNode).flipped, contracts.CodeIntegrity},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			var blobs atomic.Int64
			n.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") || r.Header.Get(throughHeader) != "" || blobs.Add(1) < 3 {
					return false
				}
				test.answer(n, w, r)
				return true
			})
			if _, err := ensure(n.root, n.registry.Host, n.ref); contracts.AsError(err).Code != test.want {
				t.Errorf("%v", err)
			}
			for _, dir := range []string{bundlesDir, metaDir, ingestDir} {
				if left, err := os.ReadDir(filepath.Join(n.root, dir)); err != nil || len(left) != 0 {
					t.Errorf("%s: %v, %v", dir, left, err)
				}
			}
			n.registry.Intercept(nil)
			n.whole(n.ensure().Path)
		})
	}
}

const throughHeader = "Test-Through" // of a request that is not intercepted

// flipped answers with what the registry has, but for a bit.
func (n *testNode) flipped(w http.ResponseWriter, r *http.Request) {
	request, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, "http://"+n.registry.Host+r.URL.Path, nil)
	if err != nil {
		n.t.Error(err)
		return
	}
	request.Header.Set(throughHeader, "1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		n.t.Error(err)
		return
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Error(err)
		return
	}
	data[len(data)/2] ^= 1
	_, _ = w.Write(data)
}
