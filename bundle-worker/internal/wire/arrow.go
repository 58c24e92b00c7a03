package wire

import (
	"bytes"
	"encoding/binary"
)

// arrowTable is what is looked at of an Arrow table.
type arrowTable struct {
	rows     int64
	metadata map[string]string // of the schema
}

const (
	arrowMagic        = "ARROW1" // of the file format; a stream begins with a message
	arrowContinuation = 0xFFFFFFFF

	// Fields of flatbuffer tables, by their position in Arrow's Message.fbs and Schema.fbs.
	messageKind, messageHeader, messageBody = 1, 2, 3
	schemaMetadata                          = 2
	batchRows                               = 0
	pairKey, pairValue                      = 0, 1
	footerSchema, footerBatches             = 1, 3
	blockSize                               = 24 // offset, size of the message, size of its body

	kindSchema, kindBatch = 1, 3

	maxPairs    = 1000
	maxMetadata = 1 << 20 // bytes
)

// readArrow reads how many rows an Arrow table has and what its schema's metadata says, in
// the stream or the file format. It decodes no data and follows no offset out of bounds.
// It is false for what is neither.
func readArrow(data []byte) (arrowTable, bool) {
	if bytes.HasPrefix(data, []byte(arrowMagic)) {
		return readArrowFile(data)
	}
	var table arrowTable
	for first := true; ; first = false {
		message, after, ok := nextMessage(data)
		if !ok {
			return table, !first
		}
		kind, header := message.byteAt(messageKind), message.table(messageHeader)
		switch {
		case first && kind != kindSchema:
			return arrowTable{}, false
		case first:
			table.metadata = header.pairs(schemaMetadata)
		case kind == kindBatch:
			table.rows += max(0, header.int64At(batchRows))
		}
		data = after
	}
}

// readArrowFile reads the footer of the file format: "… footer, its size, ARROW1".
func readArrowFile(data []byte) (arrowTable, bool) {
	body, ok := bytes.CutSuffix(data, []byte(arrowMagic))
	if !ok || len(body) < 4 {
		return arrowTable{}, false
	}
	size := binary.LittleEndian.Uint32(body[len(body)-4:])
	body = body[:len(body)-4]
	if uint64(size) > uint64(len(body)) {
		return arrowTable{}, false
	}
	footer := root(body[len(body)-int(size):])
	schema := footer.table(footerSchema)
	if schema.at == 0 {
		return arrowTable{}, false
	}
	table := arrowTable{metadata: schema.pairs(schemaMetadata)}
	blocks := footer.table(footerBatches).at
	for n := range footer.count(blocks, blockSize) {
		offset := footer.number(blocks+4+n*blockSize, 8)
		if offset >= uint64(len(data)) {
			return arrowTable{}, false
		}
		if message, _, ok := nextMessage(data[offset:]); ok {
			table.rows += max(0, message.table(messageHeader).int64At(batchRows))
		}
	}
	return table, true
}

// nextMessage is the message at the beginning of data, and what follows its body.
func nextMessage(data []byte) (message flat, rest []byte, ok bool) {
	if len(data) < 8 {
		return flat{}, nil, false
	}
	size := binary.LittleEndian.Uint32(data)
	data = data[4:]
	if size == arrowContinuation { // absent in streams of before Arrow 0.15
		size = binary.LittleEndian.Uint32(data)
		data = data[4:]
	}
	if size < 8 || uint64(size) > uint64(len(data)) {
		return flat{}, nil, false
	}
	message = root(data[:size])
	if message.at == 0 {
		return flat{}, nil, false
	}
	data = data[size:]
	body := message.int64At(messageBody)
	if body < 0 {
		return flat{}, nil, false
	}
	return message, data[min(body, int64(len(data))):], true
}

// flat is a flatbuffer table at a position of its buffer. Position 0, where none can be, is
// a table without fields, and so is everything that is read out of bounds.
type flat struct {
	buffer []byte
	at     int
}

func root(buffer []byte) flat {
	return flat{buffer, flat{buffer: buffer}.follow(0)}
}

// number reads size bytes at a position, little endian; 0 out of bounds.
func (f flat) number(at, size int) uint64 {
	if at < 0 || at > len(f.buffer)-size {
		return 0
	}
	var n uint64
	for i := size - 1; i >= 0; i-- {
		n = n<<8 | uint64(f.buffer[at+i])
	}
	return n
}

// follow is the position that the offset at a position leads to, or 0.
func (f flat) follow(at int) int {
	offset := f.number(at, 4)
	if offset == 0 || offset > uint64(len(f.buffer)-at) {
		return 0
	}
	return at + int(offset)
}

// field is the position of a field, or 0 when the table does not have it.
func (f flat) field(i int) int {
	if f.at == 0 {
		return 0
	}
	vtable := f.at - int(int32(f.number(f.at, 4)))
	if vtable < 0 || 4+2*i >= int(f.number(vtable, 2)) {
		return 0
	}
	offset := int(f.number(vtable+4+2*i, 2))
	if offset == 0 {
		return 0
	}
	return f.at + offset
}

func (f flat) byteAt(i int) byte { return byte(f.value(i, 1)) }

func (f flat) int64At(i int) int64 { return int64(f.value(i, 8)) }

func (f flat) value(i, size int) uint64 {
	at := f.field(i)
	if at == 0 {
		return 0
	}
	return f.number(at, size)
}

func (f flat) table(i int) flat {
	at := f.field(i)
	if at == 0 {
		return flat{}
	}
	return flat{f.buffer, f.follow(at)}
}

func (f flat) text(i int) string {
	at := f.table(i).at
	size := f.number(at, 4)
	if at == 0 || size > uint64(max(0, len(f.buffer)-at-4)) {
		return ""
	}
	return string(f.buffer[at+4 : at+4+min(int(size), maxMetadata)])
}

// pairs reads a vector of keys and values.
func (f flat) pairs(i int) map[string]string {
	vector := f.table(i).at
	if vector == 0 {
		return nil
	}
	pairs := map[string]string{}
	left := maxMetadata // texts may overlap: their sum is not bounded by the buffer
	for n := range min(maxPairs, f.count(vector, 4)) {
		pair := flat{f.buffer, f.follow(vector + 4 + 4*n)}
		key, value := pair.text(pairKey), pair.text(pairValue)
		if left -= len(key) + len(value); left < 0 {
			break
		}
		if key != "" {
			pairs[key] = value
		}
	}
	return pairs
}

// count is how many elements of a size the vector at a position has, as far as they are
// within bounds.
func (f flat) count(vector, size int) int {
	if vector == 0 {
		return 0
	}
	room := max(0, len(f.buffer)-vector-4) / size
	return int(min(f.number(vector, 4), uint64(room)))
}
