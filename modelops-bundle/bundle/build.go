package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	packLimit = 1 << 20 // files of this size and more are chunked
	packCap   = 8 << 20 // no pack is larger

	chunkAlgorithm  = "fastcdc-v1.0.0"
	chunkNormal     = 4 << 20
	chunkNormalHuge = 8 << 20
	hugeFile        = 32 << 30
)

// Sink takes the blobs of a bundle as they are made, each once, from several goroutines
// at a time. The bytes are the sink's only until it returns. Blob.Storage holds for the files
// up to now; the index has the last word.
type Sink func(ctx context.Context, blob Blob, stored []byte) error

// Build reads the files below root, gives their blobs to sink, and returns the index.
// A file that is not what the scan saw, or changes while it is read, stops the build with
// its name and [contracts.CodeConflict]. Memory does not grow with the bundle. Without a
// sink nothing is encoded, and the blobs of the index have no stored form.
func Build(ctx context.Context, root *os.Root, sources []Source, sink Sink) (*Index, error) {
	return Builder{Sink: sink}.Build(ctx, root, sources)
}

// Builder is [Build] with options. The zero value works.
type Builder struct {
	Sink Sink
	// Cache says which files need not be read, and learns from the build; nil for none.
	// With a sink, files are left out only when Has says so of all their blobs.
	Cache *Cache
	// Has says whether the sink need not have a blob; nil is for no.
	Has func(ctx context.Context, blob Blob) (bool, error)
	// Indexed is given the index as soon as all of it is known, while the sink may still
	// have blobs to take; nil for nobody. Its error ends the build, and what the sink does.
	Indexed  func(ctx context.Context, x *Index) error
	Progress Progress // nil for nobody
}

const (
	// rawLimit and storedLimit bound the bytes that are under way: as they were read, and
	// compressed.
	rawLimit    = 48 << 20
	storedLimit = 16 << 20
	// packsLimit bounds, of the former, those of packs, of which none is larger: what is
	// read long before it is compressed only fills memory and the processor's caches.
	packsLimit = packCap
	// parallel is how many blobs are under way at most: enough to keep a slow link busy.
	parallel = 16
)

// Build is [Build].
func (o Builder) Build(ctx context.Context, root *os.Root, sources []Source) (*Index, error) {
	if o.Cache != nil {
		if err := o.Cache.settle(ctx, sources); err != nil {
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	b := &builder{
		root: root, sink: o.Sink, cache: o.Cache, has: o.Has, progress: watched(o.Progress), group: group, made: map[blobKey]*Blob{},
		raw: newArena(rawLimit), packing: semaphore.NewWeighted(packsLimit), stored: newArena(storedLimit), scratch: make(chan []byte, max(2, min(runtime.GOMAXPROCS(0), maxEncoders))),
	}
	for range cap(b.scratch) {
		b.scratch <- nil
	}
	b.plan(sources)
	files := make([]builtFile, len(sources))
	var x *Index
	err := b.dispatch(ctx, sources, files)
	if b.making.Wait(); err == nil && !b.failed.Load() {
		x = b.index(files)
		if o.Indexed != nil {
			group.Go(func() error { return o.Indexed(ctx, x) })
		}
	}
	if waitErr := group.Wait(); waitErr != nil {
		err = waitErr // what the workers met first; dispatch only saw the cancellation
	}
	if err != nil {
		return nil, err
	}
	if b.cache != nil && (b.read || len(sources) != b.cache.sources) {
		b.cache.learn(sources, x)
	}
	return x, nil
}

// builder is one run of Build.
type builder struct {
	root     *os.Root
	sink     Sink
	cache    *Cache
	has      func(context.Context, Blob) (bool, error)
	progress Progress
	group    *errgroup.Group
	read     bool // something was not in the cache

	raw, stored *arena
	packing     *semaphore.Weighted // bytes of packs in raw
	scratch     chan []byte         // what encoders write to: one for each that may be in use

	making sync.WaitGroup // one for each blob that is not made yet
	failed atomic.Bool    // one of them will never be

	mu   sync.Mutex
	made map[blobKey]*Blob // complete when making is done
}

func (b *builder) plan(sources []Source) {
	var bytes int64
	empty := 0
	for _, source := range sources {
		bytes += source.Info.Size()
		if source.Info.Size() == 0 {
			empty++
		}
	}
	b.progress.Plan(len(sources), bytes)
	b.progress.Done(empty, 0)
}

// blobKey is what makes two blobs one: packs and chunks are encoded differently.
type blobKey struct {
	raw  contracts.Digest
	kind Kind
}

// builtFile is a file whose parts name blobs by key.
type builtFile struct {
	File
	pieces []*piece
}

type piece struct {
	blob           blobKey
	offset, length int64
}

// dispatch goes through the files in order and hands packs and chunks to the group, which
// makes it wait while enough is under way.
func (b *builder) dispatch(ctx context.Context, sources []Source, files []builtFile) error {
	for i, source := range sources {
		files[i].File = File{Path: source.Path, Mode: source.Mode, Size: source.Info.Size()}
	}
	for _, span := range packs(sources) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		cached, err := b.cachedPack(ctx, sources, files, span)
		if err != nil {
			return err
		}
		if cached {
			continue
		}
		b.read = true
		b.run(func() (sending, error) { return b.pack(ctx, sources, files, span) })
	}
	for i, source := range sources {
		if source.Info.Size() < packLimit {
			continue
		}
		cached, err := b.cachedChunks(ctx, source, &files[i])
		if err != nil {
			return err
		}
		if cached {
			continue
		}
		b.read = true
		if err := b.chunk(ctx, source, &files[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// packs groups the small files, each group the indices of the files of one pack. It looks
// at paths and sizes only.
func packs(sources []Source) [][]int {
	var all [][]int
	var current []int
	var size int64
	end := func() {
		if size > 0 {
			all = append(all, current)
		}
		current, size = nil, 0
	}
	for i, source := range sources {
		n := source.Info.Size()
		if n >= packLimit {
			continue
		}
		if size+n > packCap {
			end()
		}
		current, size = append(current, i), size+n
		if endsPack(source.Path, n) {
			end()
		}
	}
	end()
	return all
}

// endsPack is the boundary rule of the format.
func endsPack(path string, size int64) bool {
	sum := sha256.Sum256([]byte(path))
	return binary.BigEndian.Uint64(sum[:8]) < uint64(size)<<44 // size/2²⁰ × 2⁶⁴, size < 2²⁰
}

func (b *builder) pack(ctx context.Context, sources []Source, files []builtFile, span []int) (sending, error) {
	var total int64
	for _, i := range span {
		total += files[i].Size
	}
	if err := b.packing.Acquire(ctx, total); err != nil {
		return nil, err
	}
	whole, err := b.raw.get(ctx, total)
	if err != nil {
		b.packing.Release(total)
		return nil, err
	}
	done := func() { b.raw.put(whole); b.packing.Release(total) }
	buf := whole[:0]
	storage := true
	from := folder{root: b.root}
	defer from.close()
	for _, i := range span {
		storage = storage && sources[i].Storage
		data, err := readWhole(&from, sources[i], buf)
		if err != nil {
			done()
			return nil, err
		}
		buf = buf[:len(buf)+len(data)]
		files[i].Digest = contracts.DigestOf(data)
	}
	key := blobKey{contracts.DigestOf(buf), Pack}
	var offset int64
	full := 0
	for _, i := range span {
		if files[i].Size > 0 {
			files[i].pieces = []*piece{{key, offset, files[i].Size}}
			offset += files[i].Size
			full++
		}
	}
	return b.blob(ctx, key, storage, buf, done, func() { b.progress.Done(full, total) })
}

// chunkSizes are those of the chunks of a file of so many bytes.
func chunkSizes(file int64) *chunkers.ChunkerOpts {
	normal := chunkNormal
	if file > hugeFile {
		normal = chunkNormalHuge
	}
	return &chunkers.ChunkerOpts{MinSize: normal / 4, NormalSize: normal, MaxSize: 2 * normal}
}

func (b *builder) chunk(ctx context.Context, source Source, file *builtFile) error {
	f, err := openUnchanged(b.root, source)
	if err != nil {
		return err
	}
	defer f.Close()
	sizes := chunkSizes(source.Info.Size())
	scan, err := b.raw.get(ctx, int64(sizes.MaxSize))
	if err != nil {
		return err
	}
	defer b.raw.put(scan)
	chunker, err := chunkers.NewChunkerBuffer(chunkAlgorithm, f, sizes, scan)
	if err != nil {
		return err
	}
	var left atomic.Int64 // chunks of the file that are not done, and the reading itself
	left.Store(1)
	for rest := source.Info.Size(); rest > 0; {
		data, err := chunker.Next()
		if err != nil && err != io.EOF || len(data) == 0 || int64(len(data)) > rest {
			return changed(source, err)
		}
		own, err := b.raw.get(ctx, int64(len(data)))
		if err != nil {
			return err
		}
		copy(own, data) // the chunker's buffer moves on
		rest -= int64(len(data))
		left.Add(1)
		p := &piece{length: int64(len(data))}
		file.pieces = append(file.pieces, p)
		b.run(func() (sending, error) {
			p.blob = blobKey{contracts.DigestOf(own), Chunk}
			return b.blob(ctx, p.blob, source.Storage, own, func() { b.raw.put(own) }, func() { b.progress.Done(ended(&left), p.length) })
		})
	}
	b.progress.Done(ended(&left), 0)
	return stillUnchanged(f, source)
}

// ended is the number of files that end with one part less of those that are left.
func ended(left *atomic.Int64) int {
	if left.Add(-1) == 0 {
		return 1
	}
	return 0
}

// index puts the files' pieces in terms of blobs, in order of first use.
func (b *builder) index(files []builtFile) *Index {
	x := &Index{Files: make([]File, len(files))}
	position := make(map[blobKey]int, len(b.made))
	for i, file := range files {
		parts := make([]Part, len(file.pieces))
		for j, p := range file.pieces {
			at, known := position[p.blob]
			if !known {
				at = len(x.Blobs)
				position[p.blob] = at
				x.Blobs = append(x.Blobs, b.finished(p.blob))
			}
			parts[j] = Part{Blob: at, Offset: p.offset, Length: p.length}
		}
		file.Parts = parts
		switch {
		case file.Size >= packLimit:
			file.Digest = chunksDigest(parts, x.Blobs)
		case file.Size == 0:
			file.Digest = contracts.DigestOf(nil)
		}
		x.Files[i] = file.File
	}
	x.Content = ContentDigest(x.Files)
	return x
}
