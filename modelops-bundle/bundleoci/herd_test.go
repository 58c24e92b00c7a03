package bundleoci_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// herdVariable is how many requests a second TestHerd's registry answers; 200 if it is not
// set.
const herdVariable = "MODELOPS_TEST_HERD"

// bucket is a registry's limit: so many requests a second, and as many at once.
type bucket struct {
	rate float64

	mu      sync.Mutex
	left    float64
	filled  time.Time
	served  map[string]int // by User-Agent
	refused int
}

func (b *bucket) take(agent string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(b.rate, b.left+b.rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.left < 1 {
		b.refused++
		return false
	}
	b.left--
	b.served[agent]++
	return true
}

// net058: a thousand nodes ask at once for a bundle of a registry that throttles. All have
// it in the end, and none asks for more than it needs.
func TestHerd(t *testing.T) {
	rate := 200
	if text := os.Getenv(herdVariable); text != "" {
		var err error
		if rate, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const nodes, blobs = 1000, 2 // the index and a pack
	f := newFaulty(t)
	ref := bundletest.Push(t, f.registry, "seir", bundletest.Files{"wire.py": "x = 1\n"})
	limit := &bucket{rate: float64(rate), left: float64(rate), filled: time.Now(), served: map[string]int{}}
	f.set(func(w http.ResponseWriter, req *http.Request, n int, next http.Handler) bool {
		return !limit.take(req.UserAgent()) && status(http.StatusTooManyRequests, "1")(w, req, n, next)
	})
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	errs := make([]error, nodes)
	var herd sync.WaitGroup
	for node := range nodes {
		herd.Go(func() {
			repo, err := bundleoci.Open(f.env, "seir", bundleoci.Options{UserAgent: fmt.Sprint("node-", node)})
			if err == nil {
				err = fetchAll(ctx, repo, ref.Digest)
			}
			errs[node] = err
		})
	}
	herd.Wait()
	for node, err := range errs {
		if err != nil {
			t.Errorf("node %d: %v", node, err)
		}
	}
	for agent, served := range limit.served {
		if served > blobs+4 {
			t.Errorf("%s needed %d requests", agent, served)
		}
	}
	if limit.refused == 0 || len(limit.served) != nodes {
		t.Errorf("%d requests of %d nodes, %d refused", f.asked(""), len(limit.served), limit.refused)
	}
}

// fetchAll has every byte of a bundle come, and keeps none.
func fetchAll(ctx context.Context, repo *bundleoci.Repository, d contracts.Digest) error {
	b, err := repo.Fetch(ctx, d)
	if err == nil {
		_, err = b.Verify(ctx, nil)
	}
	return err
}
