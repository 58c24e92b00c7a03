package bundle

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// encoders lends encoders of one level, and keeps a few of those that come back: one has
// ten megabytes, which a collector that works hard would throw away each time.
type encoders struct {
	level zstd.EncoderLevel
	// thrifty is that history has room for a window and not for two. Nothing larger than
	// a window must be common then: its history is moved at every block.
	thrifty bool
	idle    chan *zstd.Encoder
}

const maxEncoders = 4

// The blobs of packs are no larger than the window of their level; those of chunks are.
var (
	packEncoders  = encoders{zstd.SpeedDefault, true, make(chan *zstd.Encoder, maxEncoders)}
	chunkEncoders = encoders{zstd.SpeedFastest, false, make(chan *zstd.Encoder, maxEncoders)}
)

func (e *encoders) get() *zstd.Encoder {
	select {
	case encoder := <-e.idle:
		return encoder
	default:
	}
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(e.level), zstd.WithLowerEncoderMem(e.thrifty), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil { // the options are constants
		panic(err)
	}
	return encoder
}

func (e *encoders) put(encoder *zstd.Encoder) {
	select {
	case e.idle <- encoder:
	default:
	}
}

// blobDecoder serves any number of callers at once; a frame that would not fit the
// buffer that it is given is an error.
var blobDecoder = sync.OnceValue(func() *zstd.Decoder {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	if err != nil { // the options are constants
		panic(err)
	}
	return decoder
})
