package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Version is the version of the format that this package writes.
const Version = 2

// Limits of the format. What exceeds them is refused at push, with the reason, and at
// pull before anything is allocated for it.
const (
	MaxBlobs     = 20_000
	MaxIndex     = 64 << 20 // bytes of the index before compression
	maxBlobSize  = 16 << 20 // raw bytes: the largest chunk there can be
	maxFile      = 128 << 30
	maxFileCount = 1_000_000
)

// Mode is a file's mode in a bundle: [Regular] or [Executable].
type Mode uint32

// The modes that there are.
const (
	Regular    Mode = 0o644
	Executable Mode = 0o755
)

// String is the mode in octal, as in "0644".
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText writes the mode as [Mode.String] does.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText refuses every mode but the two.
func (m *Mode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "0644":
		*m = Regular
	case "0755":
		*m = Executable
	default:
		return fmt.Errorf("mode %q is neither 0644 nor 0755", text)
	}
	return nil
}

func modeOf(info fs.FileInfo) Mode {
	if info.Mode()&0o100 != 0 {
		return Executable
	}
	return Regular
}

// Index describes a bundle: its files, and where in which blobs their bytes are.
type Index struct {
	Content contracts.Digest // the content digest
	Files   []File           // by path
	Blobs   []Blob           // by first use
}

// File is a file of a bundle.
type File struct {
	Path   string           `json:"path"`
	Mode   Mode             `json:"mode"`
	Size   int64            `json:"size"`
	Digest contracts.Digest `json:"digest"`
	Parts  []Part           `json:"parts"`
}

// Part is a range of raw bytes of a blob.
type Part struct {
	Blob   int // in Index.Blobs
	Offset int64
	Length int64
}

// MarshalJSON writes [blob, offset, length].
func (p Part) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 32), '[')
	b = append(strconv.AppendInt(b, int64(p.Blob), 10), ',')
	b = append(strconv.AppendInt(b, p.Offset, 10), ',')
	return append(strconv.AppendInt(b, p.Length, 10), ']'), nil
}

// UnmarshalJSON reads [blob, offset, length].
func (p *Part) UnmarshalJSON(data []byte) error {
	var fields []int64
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	if len(fields) != 3 || fields[0] < 0 || fields[0] >= MaxBlobs {
		return fmt.Errorf("part is not [blob, offset, length]")
	}
	*p = Part{Blob: int(fields[0]), Offset: fields[1], Length: fields[2]}
	return nil
}

// Blob is a unit of storage and transfer.
type Blob struct {
	Raw        contracts.Digest `json:"raw"`       // of the bytes that files are made of
	RawSize    int64            `json:"size"`      // of the same, in bytes
	Stored     contracts.Digest `json:"blob"`      // of the bytes that lie in the registry
	StoredSize int64            `json:"blob_size"` // of the same, in bytes
	Encoding   Encoding         `json:"encoding"`
	Kind       Kind             `json:"-"` // by its use
	Storage    bool             `json:"-"` // no layer of the manifest: it lies in the environment's storage
}

// Kind is what a blob is made of.
type Kind int

// The kinds of blobs.
const (
	Pack  Kind = iota // small files
	Chunk             // a piece of a large file
	Whole             // a file of any size
)

type document struct {
	Version int              `json:"version"`
	Content contracts.Digest `json:"content"`
	Files   []File           `json:"files"`
	Blobs   []Blob           `json:"blobs"`
}

// Size is the sum of the sizes of the files, in bytes.
func (x *Index) Size() int64 {
	var n int64
	for _, f := range x.Files {
		n += f.Size
	}
	return n
}

// document is the [document] of the index in JSON, made piece by piece: as a whole, the
// encoder would have a second one in memory.
func (x *Index) document() ([]byte, error) {
	size := 200 * len(x.Blobs)
	for _, f := range x.Files {
		size += len(f.Path) + 160 + 24*len(f.Parts)
	}
	buf := bytes.NewBuffer(make([]byte, 0, size))
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	fmt.Fprintf(buf, `{"version":%d,"content":%q,"files":[`, Version, x.Content)
	for i := range x.Files {
		if err := encoder.Encode(&x.Files[i]); err != nil {
			return nil, err
		}
		buf.Truncate(buf.Len() - 1) // the line's end
		if i < len(x.Files)-1 {
			buf.WriteByte(',')
		}
	}
	buf.WriteString(`],"blobs":[`)
	for i := range x.Blobs {
		if err := encoder.Encode(&x.Blobs[i]); err != nil {
			return nil, err
		}
		buf.Truncate(buf.Len() - 1)
		if i < len(x.Blobs)-1 {
			buf.WriteByte(',')
		}
	}
	buf.WriteString("]}")
	return buf.Bytes(), nil
}

func tooLarge(why string) error {
	return &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePack,
		Message: "the bundle is too large: " + why,
		Hint:    "leave files out in " + IgnoreFile + ", or split the project",
	}
}

// ParseIndex reads what [Index.Marshal] wrote, and trusts nothing in it: every rule of
// the format is checked. The error is an [contracts.Error] with
// [contracts.CodeInvalidBundle].
func ParseIndex(stored []byte) (*Index, error) {
	raw, err := decompressIndex(stored, MaxIndex)
	if err != nil {
		return nil, invalid("its index " + err.Error())
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, invalid("its index is broken: " + contracts.Quote(err.Error()))
	}
	if doc.Version != Version {
		return nil, &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StagePull,
			Message: fmt.Sprintf("the bundle's index has version %d; this program reads version %d", doc.Version, Version),
			Hint:    "install a newer version of the suite",
		}
	}
	x := &Index{Content: doc.Content, Files: doc.Files, Blobs: doc.Blobs}
	if err := x.check(); err != nil {
		return nil, err
	}
	return x, nil
}

func invalid(why string) error {
	return &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePull,
		Message: "the bundle breaks the format: " + why,
		Hint:    "push it again with a current modelops-bundle",
	}
}

// ContentDigest is the digest of what the files are, wherever and however they are
// stored.
func ContentDigest(files []File) contracts.Digest {
	h := sha256.New()
	h.Write([]byte("modelops.bundle.content.v2\n"))
	var line []byte
	for _, f := range files {
		line = append(append(line[:0], f.Path...), 0)
		line = append(append(line, f.Mode.String()...), 0)
		line = append(strconv.AppendInt(line, f.Size, 10), 0)
		line = append(append(line, f.Digest...), '\n')
		h.Write(line)
	}
	return contracts.DigestFromSum([sha256.Size]byte(h.Sum(nil)))
}

// chunksDigest is the digest of a file in chunks.
func chunksDigest(parts []Part, blobs []Blob) contracts.Digest {
	h := sha256.New()
	h.Write([]byte("modelops.bundle.chunks.v2\n"))
	var line []byte
	for _, part := range parts {
		line = append(append(line[:0], blobs[part.Blob].Raw...), ' ')
		line = append(strconv.AppendInt(line, part.Length, 10), '\n')
		h.Write(line)
	}
	return contracts.DigestFromSum([sha256.Size]byte(h.Sum(nil)))
}
