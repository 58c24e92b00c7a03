package bundleoci

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
)

// filesIndex is the index of a bundle in the files format, the Python suite's.
type filesIndex struct {
	Version string                `json:"version"`
	Files   map[string]filesEntry `json:"files"`
}

type filesEntry struct {
	Path    string           `json:"path"`
	Digest  contracts.Digest `json:"digest"`
	Size    int64            `json:"size"`
	Storage string           `json:"storage"` // "oci", or "blob"
	BlobRef *struct {
		URI string `json:"uri"`
	} `json:"blobRef"` // of a blob

	// The format has neither; an entry that claims one means something that we would lose.
	Mode json.RawMessage `json:"mode"`
	Type json.RawMessage `json:"type"`
}

// readFilesIndex reads the index of a bundle in the files format, as one of ours in which
// each file is a blob of its own. The layers may come in any order, and several times.
// Where there is a storage, files may be in it.
func readFilesIndex(stored []byte, m *ocispec.Manifest, storage bool) (*bundle.Index, error) {
	var doc filesIndex
	if err := json.Unmarshal(stored, &doc); err != nil {
		return nil, invalidFiles("is broken: " + contracts.Quote(err.Error()))
	}
	if !strings.HasPrefix(doc.Version, "1.") {
		return nil, &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StagePull,
			Message: "the bundle's index has version " + contracts.Quote(doc.Version) + "; this program reads 1.x of the Python suite's",
		}
	}
	layers := map[contracts.Digest]int64{}
	for _, l := range m.Layers {
		d := contracts.Digest(l.Digest)
		if size, ok := layers[d]; ok && size != l.Size {
			return nil, invalidManifest("has a layer with two sizes")
		}
		layers[d] = l.Size
	}
	files, err := doc.list(layers, storage)
	if err != nil {
		return nil, err
	}
	used := map[contracts.Digest]bool{}
	for _, f := range files {
		if _, isLayer := layers[f.Digest]; isLayer {
			used[f.Digest] = true
		}
	}
	if len(used) != len(layers) {
		return nil, invalidManifest("has other layers than its index has files")
	}
	return bundle.WholeFiles(files)
}

// list is the files by path, each of them a layer or in the storage.
func (x filesIndex) list(layers map[contracts.Digest]int64, storage bool) ([]bundle.File, error) {
	var files []bundle.File
	var elsewhere []contracts.Problem
	for key, e := range x.Files {
		name := contracts.Quote(key)
		size, isLayer := layers[e.Digest]
		switch {
		case e.Path != key:
			return nil, invalidFiles("has " + name + " under the path " + contracts.Quote(e.Path))
		case e.Mode != nil || e.Type != nil:
			return nil, invalidFiles("has a mode or a type for " + name)
		case e.Storage != "oci" && e.Storage != "blob":
			return nil, invalidFiles("has " + name + " in the unknown storage " + contracts.Quote(e.Storage))
		case e.Storage == "blob" && !e.points():
			return nil, invalidFiles("has " + name + " in blob storage, and a blobRef that is none of the Python suite's")
		case e.Storage == "blob" && !isLayer && !storage:
			elsewhere = append(elsewhere, contracts.Problem{Field: key, Message: "is in blob storage"})
			continue
		case e.Storage == "blob" && !isLayer:
		case !isLayer:
			return nil, invalidFiles("has " + name + ", which is no layer of the manifest")
		case size != e.Size:
			return nil, invalidFiles(fmt.Sprintf("says that %s has %d bytes, and its layer has %d", name, e.Size, size))
		}
		files = append(files, bundle.File{Path: key, Mode: bundle.Regular, Size: e.Size, Digest: e.Digest})
	}
	if len(elsewhere) > 0 {
		slices.SortFunc(elsewhere, func(a, b contracts.Problem) int { return strings.Compare(a.Field, b.Field) })
		return nil, &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StagePull,
			Message: "the bundle has files in blob storage, and the environment has no storage",
			Hint:    "use the environment that it was pushed in, or push it again with modelops-bundle push", Problems: elsewhere,
		}
	}
	slices.SortFunc(files, func(a, b bundle.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// points says whether the entry's pointer is of the kind that the Python suite writes. It is
// never followed: the digest and the environment say where the bytes are.
func (e filesEntry) points() bool {
	if e.BlobRef == nil {
		return false
	}
	uri := e.BlobRef.URI
	return (strings.HasPrefix(uri, "azure://") || strings.HasPrefix(uri, "fs://")) && !strings.ContainsAny(uri, "?#\r\n")
}

func invalidFiles(why string) error { return invalidManifest("has an index that " + why) }
