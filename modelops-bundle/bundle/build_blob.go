package bundle

import "context"

// sending gives a blob to the sink, where that does not have it.
type sending func() error

// run has the group make something and then send it: when all is made, the index is known.
func (b *builder) run(work func() (sending, error)) {
	b.making.Add(1)
	b.group.Go(func() error {
		send, err := work()
		if err != nil {
			b.failed.Store(true)
		}
		b.making.Done()
		if err != nil {
			return err
		}
		return send()
	})
}

// blob encodes raw bytes, once for each key, and says how they are sent. It calls done when
// raw is needed no longer, and moved when the sink has the blob. A blob is for the storage
// when every file that has it is, which holds only when all is made: to the sink it may be
// for the storage and turn out to be for the registry.
func (b *builder) blob(ctx context.Context, key blobKey, storage bool, raw []byte, done, moved func()) (sending, error) {
	there := func() error { done(); moved(); return nil }
	if known, cached := b.cache.blob(key); cached {
		reused, err := b.reuse(ctx, []Blob{known}, storage)
		if err != nil {
			done()
			return nil, err
		}
		if reused {
			return there, nil
		}
	}
	blob := Blob{Raw: key.raw, RawSize: int64(len(raw)), Kind: key.kind, Storage: storage}
	b.mu.Lock()
	known, made := b.made[key]
	if !made {
		known = &Blob{}
		*known = blob
		b.made[key] = known
	}
	known.Storage = known.Storage && storage
	b.mu.Unlock()
	if made || b.sink == nil {
		return there, nil
	}
	blob, stored, err := b.encode(ctx, blob, raw)
	if err != nil {
		done()
		return nil, err
	}
	b.mu.Lock()
	blob.Storage = known.Storage
	*known = blob
	b.mu.Unlock()
	if blob.Encoding != Identity {
		done()
		done = func() { b.stored.put(stored) }
	}
	return func() error {
		defer done()
		err := b.sink(ctx, blob, stored)
		if err == nil {
			moved()
		}
		return err
	}, nil
}

// encode is the blob as it is stored: raw itself, or a buffer of stored.
func (b *builder) encode(ctx context.Context, blob Blob, raw []byte) (encoded Blob, stored []byte, err error) {
	var room []byte
	select {
	case room = <-b.scratch:
		defer func() { b.scratch <- room }()
	case <-ctx.Done():
		return blob, nil, ctx.Err()
	}
	if !promising(raw) {
		return blob.plain(), raw, nil
	}
	if cap(room) < len(raw) {
		room = make([]byte, bufferSize(int64(len(raw))))
	}
	blob, compressed := blob.encodeInto(raw, room[:0])
	if blob.Encoding == Identity {
		return blob, raw, nil
	}
	if stored, err = b.stored.get(ctx, blob.StoredSize); err != nil {
		return blob, nil, err
	}
	copy(stored, compressed)
	return blob, stored, nil
}
