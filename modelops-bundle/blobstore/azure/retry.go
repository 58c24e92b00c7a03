package azure

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/modelops-suite/modelops-go/contracts"
)

// maxPause is the longest pause of our own choice.
const maxPause = 30 * time.Second

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
		case err != nil && !errors.Is(err, errStalled): // a server is there when something stalls
			limit = r.limits.Silence
		case err != nil:
		case !passing(response):
			return response, nil
		}
		pause := max(backoff(r.limits.Pause, try), retryAfter(response, time.Now()))
		if time.Since(began)+pause > limit {
			return response, err
		}
		if err == nil {
			err = runtime.NewResponseError(response) // takes and closes the body
		}
		if ended := sleep(ctx, pause); ended != nil {
			return nil, errors.Join(ended, err)
		}
	}
}

// passing says whether an answer means that a later one may be another.
func passing(response *http.Response) bool {
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return response.Header.Get("x-ms-error-code") == "ContainerBeingDeleted"
}

// worthwhile says whether a request that got no answer may get one.
func worthwhile(err error) bool {
	if own, ok := errors.AsType[*contracts.Error](err); ok {
		return own.Retryable
	}
	var final interface{ NonRetriable() }
	return !errors.As(err, &final) && !isCertificate(err)
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

// backoff is a random pause before the next try, of a mean that doubles with each.
func backoff(mean time.Duration, try int) time.Duration {
	longest := min(maxPause, 2*mean<<min(try-1, 16))
	return rand.N(max(longest, 1))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
