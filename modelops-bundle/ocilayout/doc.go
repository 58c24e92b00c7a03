// Package ocilayout writes and reads OCI image layouts, as a directory or in a tar file:
// what carries a bundle to a machine without network, and what oras, crane, skopeo and
// others read and write as well. It knows nothing of bundles.
//
// Of a layout that somebody else made nothing is trusted. A tar file is never unpacked: its
// headers are read once, and content is read where it lies.
package ocilayout

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/modelops-suite/modelops-go/contracts"
)

// RepositoryAnnotation names the repository that a manifest of a layout came from.
const RepositoryAnnotation = "vnd.modelops.bundle.repository"

const (
	maxIndex    = 4 << 20 // bytes of index.json
	maxManifest = 4 << 20
	blobsDir    = "blobs/sha256/"
)

// Entry is a manifest of a layout.
type Entry struct {
	Descriptor ocispec.Descriptor
	Tag        string // "" for none
	Repository string // "" when the layout does not say
}

func (e Entry) descriptor() ocispec.Descriptor {
	d := e.Descriptor
	if e.Tag != "" || e.Repository != "" {
		d.Annotations = map[string]string{}
	}
	if e.Tag != "" {
		d.Annotations[ocispec.AnnotationRefName] = e.Tag
	}
	if e.Repository != "" {
		d.Annotations[RepositoryAnnotation] = e.Repository
	}
	return d
}

func entry(d ocispec.Descriptor) Entry {
	e := Entry{Descriptor: d, Tag: d.Annotations[ocispec.AnnotationRefName], Repository: d.Annotations[RepositoryAnnotation]}
	e.Descriptor.Annotations = nil
	return e
}

// marker is the content of the file oci-layout.
func marker() []byte { return []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`) }

func marshalIndex(manifests []ocispec.Descriptor) ([]byte, error) {
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}
	x.SchemaVersion = 2
	return json.Marshal(x)
}

// blobPath is where a layout has the content of a digest, which is valid.
func blobPath(d digest.Digest) string { return blobsDir + contracts.Digest(d).Hex() }

func invalid(path, why string) *contracts.Error {
	return &contracts.Error{
		Code: contracts.CodeInvalidBundle, Stage: contracts.StagePull,
		Message: contracts.Quote(path) + " is no sound OCI image layout: " + why,
		Hint:    "make it again: modelops-bundle export REF FILE.tar, or oras copy --to-oci-layout",
	}
}
