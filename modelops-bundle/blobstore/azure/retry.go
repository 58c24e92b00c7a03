package azure

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

// retry sends a request again while the service is in trouble and there is time. The
// library's own gives up after a number of tries, or when it is asked to wait for long.
type retry struct{ limits Limits }

// Do sends the request.
func (r *retry) Do(req *policy.Request) (*http.Response, error) {
	ctx, began := req.Raw().Context(), time.Now()
	for try := 1; ; try++ {
		if err := req.RewindBody(); err != nil {
			return nil, err
		}
		response, err := req.Clone(ctx).Next()
		if ctx.Err() != nil {
			if response != nil {
				_ = response.Body.Close()
			}
			return nil, ctx.Err()
		}
		limit := r.limits.Busy
		switch {
		case err != nil && !worthwhile(err):
			return nil, err
		case err != nil && !errors.Is(err, remote.ErrStalled): // a server is there when something stalls
			limit = r.limits.Silence
		case err != nil:
		case !passing(response):
			return response, nil
		}
		pause := max(r.limits.Backoff(try), retryAfter(response, time.Now()))
		if time.Since(began)+pause > limit {
			return response, err
		}
		if err == nil {
			err = runtime.NewResponseError(response) // takes and closes the body
		}
		if ended := remote.Sleep(ctx, pause); ended != nil {
			return nil, errors.Join(ended, err)
		}
	}
}

// passing says whether an answer means that a later one may be another.
func passing(response *http.Response) bool {
	return remote.Passing(response.StatusCode) || response.Header.Get("x-ms-error-code") == "ContainerBeingDeleted"
}

// worthwhile says whether a request that got no answer may get one.
func worthwhile(err error) bool {
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		return own.Retryable
	}
	var final interface{ NonRetriable() }
	return !errors.As(err, &final) && !remote.IsCertificate(err)
}

// retryAfter is how long the service asks to be left alone.
func retryAfter(response *http.Response, now time.Time) time.Duration {
	if response == nil {
		return 0
	}
	for name, unit := range map[string]time.Duration{"x-ms-retry-after-ms": time.Millisecond, "retry-after-ms": time.Millisecond, "Retry-After": time.Second} {
		if n, err := strconv.ParseInt(response.Header.Get(name), 10, 32); err == nil && n > 0 {
			return time.Duration(n) * unit
		}
	}
	if at, err := http.ParseTime(response.Header.Get("Retry-After")); err == nil {
		return at.Sub(now)
	}
	return 0
}
