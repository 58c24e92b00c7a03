package ocilayout

import (
	"bytes"
	"context"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	readers  = 4        // blobs of a tar file that are in memory at a time
	maxAhead = 16 << 20 // bytes of one of them; a larger one is read when its turn comes
)

// readAhead is the image, whose content is opened and read ahead of its turn. Content must
// be asked for in the order of needs. stop ends it.
func (i Image) readAhead(ctx context.Context, needs []ocispec.Descriptor) (ahead Image, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	type content struct {
		data []byte
		err  error
	}
	turns := make(chan chan content, readers-2) // with the one that waits and the one in use: readers
	var all sync.WaitGroup
	all.Go(func() {
		defer close(turns)
		for _, d := range needs {
			turn := make(chan content, 1)
			select {
			case turns <- turn:
			case <-ctx.Done():
				return
			}
			all.Go(func() {
				data, err := i.read(ctx, d)
				turn <- content{data, err}
			})
		}
	})
	ahead = i
	ahead.Open = func(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
		turn, ok := <-turns
		if !ok {
			return nil, ctx.Err()
		}
		o := <-turn
		if o.err == nil && d.Size > maxAhead {
			return i.Open(ctx, d)
		}
		return io.NopCloser(bytes.NewReader(o.data)), o.err
	}
	return ahead, func() {
		cancel()
		all.Wait()
	}
}

// read reads content that is not large.
func (i Image) read(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxAhead {
		return nil, nil
	}
	body, err := i.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, d.Size+1)) // one more, that copy may see it
}
