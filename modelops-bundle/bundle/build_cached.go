package bundle

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// cachedPack takes a pack from the cache, if all its files are there as they were and the
// blob is made of them alone.
func (b *builder) cachedPack(ctx context.Context, sources []Source, files []builtFile, span []int) (bool, error) {
	if b.cache == nil {
		return false, nil
	}
	var blob *Blob
	var offset int64
	storage := true
	found := make([]cachedFile, len(span))
	for j, i := range span {
		storage = storage && sources[i].Storage
		if files[i].Size == 0 {
			continue
		}
		f, ok := b.cache.lookup(sources[i])
		if !ok || len(f.parts) != 1 || f.parts[0].Offset != offset || f.parts[0].Length != files[i].Size {
			return false, nil
		}
		own := &b.cache.blobs[f.parts[0].Blob]
		if blob != nil && own != blob {
			return false, nil
		}
		blob, found[j] = own, f
		offset += files[i].Size
	}
	if blob == nil || blob.Kind != Pack || offset != blob.RawSize {
		return false, nil
	}
	if reused, err := b.reuse(ctx, []Blob{*blob}, storage); !reused {
		return false, err
	}
	key := blobKey{blob.Raw, Pack}
	full := 0
	for j, i := range span {
		if files[i].Size > 0 {
			files[i].Digest = found[j].digest
			files[i].pieces = []*piece{{key, found[j].parts[0].Offset, files[i].Size}}
			full++
		}
	}
	b.progress.Skip(full, offset)
	return true, nil
}

// cachedChunks takes a large file's chunks from the cache.
func (b *builder) cachedChunks(ctx context.Context, source Source, file *builtFile) (bool, error) {
	if b.cache == nil {
		return false, nil
	}
	f, ok := b.cache.lookup(source)
	if !ok {
		return false, nil
	}
	pieces, blobs := make([]*piece, len(f.parts)), make([]Blob, len(f.parts))
	rest := file.Size
	for i, part := range f.parts {
		blob := b.cache.blobs[part.Blob]
		if blob.Kind != Chunk || part.Offset != 0 || part.Length != blob.RawSize {
			return false, nil
		}
		pieces[i], blobs[i] = &piece{blobKey{blob.Raw, Chunk}, 0, part.Length}, blob
		rest -= part.Length
	}
	if rest != 0 {
		return false, nil
	}
	if reused, err := b.reuse(ctx, blobs, source.Storage); !reused {
		return false, err
	}
	file.pieces = pieces
	b.progress.Skip(1, file.Size)
	return true, nil
}

// reuse takes blobs from the cache, if the sink has all of them.
func (b *builder) reuse(ctx context.Context, blobs []Blob, storage bool) (bool, error) {
	for i := range blobs {
		blobs[i].Storage = storage
	}
	if b.sink != nil {
		if has, err := b.hasAll(ctx, blobs); !has {
			return false, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, blob := range blobs {
		key := blobKey{blob.Raw, blob.Kind}
		if known := b.made[key]; known != nil {
			known.Storage = known.Storage && storage
			continue
		}
		b.made[key] = &blob
	}
	return true, nil
}

// hasAll asks for several blobs at a time: an answer may come from far away.
func (b *builder) hasAll(ctx context.Context, blobs []Blob) (bool, error) {
	var lacks atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, blob := range blobs {
		if blob.Stored == "" || b.has == nil || lacks.Load() {
			lacks.Store(true)
			break
		}
		group.Go(func() error {
			has, err := b.has(ctx, blob)
			if !has {
				lacks.Store(true)
			}
			return err
		})
	}
	err := group.Wait()
	return err == nil && !lacks.Load(), err
}

// finished is the blob, with the stored form that the cache knows if it was not encoded.
func (b *builder) finished(key blobKey) Blob {
	blob := *b.made[key]
	if blob.Stored == "" {
		if known, ok := b.cache.blob(key); ok {
			known.Storage = blob.Storage
			return known
		}
	}
	return blob
}
