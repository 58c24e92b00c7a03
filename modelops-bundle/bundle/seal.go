package bundle

import (
	"fmt"

	"github.com/modelops-suite/modelops-go/contracts"
)

// StoredIndex is an index as it is stored.
type StoredIndex struct {
	Digest contracts.Digest
	Size   int64 // bytes

	raw, stored []byte // stored is nil until somebody wants it
}

// IndexOf is the index of which these are the stored bytes.
func IndexOf(stored []byte) *StoredIndex {
	return &StoredIndex{Digest: contracts.DigestOf(stored), Size: int64(len(stored)), stored: stored}
}

// Seal is the index as it is stored: compressed JSON, unless the cache knows what that
// comes to. cache may be nil. It refuses an index over the limits with
// [contracts.CodeInvalidBundle].
func (x *Index) Seal(cache *Cache) (*StoredIndex, error) {
	if len(x.Blobs) > MaxBlobs {
		return nil, tooLarge(fmt.Sprintf("it needs %d blobs, and a bundle has at most %d", len(x.Blobs), MaxBlobs))
	}
	raw, err := x.document()
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxIndex {
		return nil, tooLarge(fmt.Sprintf("its index has %d bytes, and may have %d", len(raw), MaxIndex))
	}
	if cache == nil {
		return IndexOf(compress(raw, Pack)), nil
	}
	return cache.seal(raw), nil
}

// Bytes are the stored ones.
func (s *StoredIndex) Bytes() []byte {
	if s.stored == nil {
		s.stored, s.raw = compress(s.raw, Pack), nil
	}
	return s.stored
}

// seal is the document as it is stored. What it came to is remembered for the next time.
func (c *Cache) seal(raw []byte) *StoredIndex {
	digest := contracts.DigestOf(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index.Raw == digest {
		return &StoredIndex{Digest: c.index.Stored, Size: c.index.StoredSize, raw: raw}
	}
	s := IndexOf(compress(raw, Pack))
	c.index = Blob{Raw: digest, RawSize: int64(len(raw)), Kind: Pack, Stored: s.Digest, StoredSize: s.Size, Encoding: Zstd}
	c.dirty = true
	return s
}
