package bundle

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// encoders holds idle encoders of each level: one costs megabytes to make.
var encoders = map[zstd.EncoderLevel]*sync.Pool{
	zstd.SpeedDefault: newEncoders(zstd.SpeedDefault),
	zstd.SpeedFastest: newEncoders(zstd.SpeedFastest),
}

func newEncoders(level zstd.EncoderLevel) *sync.Pool {
	return &sync.Pool{New: func() any {
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
		if err != nil { // the options are constants
			panic(err)
		}
		return encoder
	}}
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
