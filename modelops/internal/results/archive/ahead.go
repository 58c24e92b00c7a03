package archive

import (
	"context"
	"iter"
	"sync"
)

// ahead fetches what belongs to each of the names, several at once, and yields it in their
// order: an object at a time, a store far away makes whoever waits for each wait for long.
// When ctx ends, so does the sequence, and when that ends, nothing is fetched any more.
func ahead[N, T any](ctx context.Context, most int, names []N, fetch func(context.Context, N) (T, error)) iter.Seq2[T, error] {
	type answer struct {
		value T
		err   error
	}
	return func(yield func(T, error) bool) {
		var fetching sync.WaitGroup
		defer fetching.Wait()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		answers := make(chan chan answer, max(0, most-1)) // in order; what is fetched has its place, or is waited for
		fetching.Go(func() {
			defer close(answers)
			for _, name := range names {
				if ctx.Err() != nil {
					return
				}
				place := make(chan answer, 1)
				select {
				case answers <- place:
				case <-ctx.Done():
					return
				}
				fetching.Go(func() {
					value, err := fetch(ctx, name)
					place <- answer{value, err}
				})
			}
		})
		for place := range answers {
			if a := <-place; !yield(a.value, a.err) {
				return
			}
		}
	}
}
