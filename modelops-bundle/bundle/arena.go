package bundle

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"
)

// arena lends buffers whose sizes together never exceed a limit, and uses them again.
type arena struct {
	limit int64
	room  *semaphore.Weighted

	mu    sync.Mutex
	total int64              // of what is lent and what is idle
	idle  map[int64][][]byte // by size
}

func newArena(limit int64) *arena {
	return &arena{limit: limit, room: semaphore.NewWeighted(limit), idle: map[int64][][]byte{}}
}

// smallest is the size of the smallest buffers.
const smallest = 64 << 10

// bufferSize is the size of the buffer that n bytes get: the next power of two.
func bufferSize(n int64) int64 {
	return max(smallest, int64(1)<<bits.Len64(uint64(n-1)))
}

// get lends a buffer of n bytes, which may be larger than the limit if it is the only one.
// It waits while too much is lent.
func (a *arena) get(ctx context.Context, n int64) ([]byte, error) {
	size := bufferSize(n)
	if err := a.room.Acquire(ctx, min(size, a.limit)); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if list := a.idle[size]; len(list) > 0 {
		buf := list[len(list)-1]
		a.idle[size] = list[:len(list)-1]
		return buf[:n], nil
	}
	for other, list := range a.idle {
		for len(list) > 0 && a.total+size > a.limit {
			list = list[:len(list)-1]
			a.total -= other
		}
		a.idle[other] = list
	}
	a.total += size
	return make([]byte, size)[:n], nil
}

// put takes a buffer back; nil is none.
func (a *arena) put(buf []byte) {
	if buf == nil {
		return
	}
	size := int64(cap(buf))
	a.mu.Lock()
	a.idle[size] = append(a.idle[size], buf)
	a.mu.Unlock()
	a.room.Release(min(size, a.limit))
}
