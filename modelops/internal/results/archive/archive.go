// Package archive keeps what became of tasks: records under the key of the task,
// written once and never changed.
//
// # Layout
//
// An archive lies below one prefix of a store. The results of all jobs that ran the
// same content are in results/<64 hex of the content digest>; the failures of a job,
// which nobody else reuses, are in an archive of the job's own.
//
//	<prefix>/segments/<time>-<job>-<writer>-<number>   records, see [Segment]
//	<prefix>/blobs/<checksum>                          outputs too large for a record
//	<prefix>/environments/<digest>.json                what an environment digest stands for
//	<prefix>/damaged/<segment>                         segments that are read no more
//
// A batch of results becomes one segment, by one durable create. Segments are named so
// that they sort by the time of their writing; of several records of one task the first
// is the one that counts, or the asking job's own.
//
// # Damage
//
// A segment carries its own checksums and an output its own. What does not have them is
// an error of [contracts.CodeIntegrity]; the segment is then noted as damaged, so that
// the tasks in it count as not run. Nothing is deleted.
package archive

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"golang.org/x/crypto/blake2b"
)

// Archive is one archive. The zero value is of no use; see [At].
type Archive struct {
	store  blobstore.Store
	prefix string
}

// At is the archive below the prefix, which ends in no slash.
func At(store blobstore.Store, prefix string) *Archive {
	return &Archive{store: store, prefix: prefix}
}

// Results is the archive of the results of this content.
func Results(store blobstore.Store, content contracts.Digest) *Archive {
	return At(store, contracts.ResultsPrefix(content))
}

func (a *Archive) segment(name string) string { return path.Join(a.prefix, "segments", name) }
func (a *Archive) blob(checksum string) string {
	return contracts.BlobKey(a.prefix, checksum)
}
func (a *Archive) damaged(name string) string { return path.Join(a.prefix, "damaged", name) }
func (a *Archive) environment(digest string) string {
	return path.Join(a.prefix, "environments", digest+".json")
}

// PutBlob stores the bytes of an output that is too large for a record, and returns the
// artifact that refers to them. Bytes without the artifact's size and checksum are an
// error of [contracts.CodeIntegrity]. Storing it again mends a damaged blob.
func (a *Archive) PutBlob(ctx context.Context, artifact contracts.Artifact, r io.Reader) (contracts.Artifact, error) {
	if _, err := hex.DecodeString(artifact.Checksum); err != nil || len(artifact.Checksum) != 64 {
		return artifact, damage("output", "has no valid checksum")
	}
	if err := a.store.Put(ctx, a.blob(artifact.Checksum), newVerifier(artifact, r)); err != nil {
		return artifact, err
	}
	artifact.Inline, artifact.Ref = nil, contracts.BlobRef(artifact.Checksum)
	return artifact, nil
}

// Open opens the bytes of an output; reading them to the end checks them.
func (a *Archive) Open(ctx context.Context, artifact contracts.Artifact) (io.ReadCloser, error) {
	if artifact.Ref == "" {
		return io.NopCloser(bytes.NewReader(artifact.Inline)), nil
	}
	checksum, ok := artifact.Blob()
	if !ok {
		return nil, damage("output", "refers to "+contracts.Quote(artifact.Ref)+", which is no blob of its archive")
	}
	r, err := a.store.Get(ctx, a.blob(checksum))
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, damage("output", "is recorded, and its blob "+checksum+" is not in the storage")
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{newVerifier(artifact, r), r}, nil
}

// verifier passes bytes on and, at their end, compares size and checksum.
type verifier struct {
	artifact contracts.Artifact
	r        io.Reader
	hash     hash.Hash
	n        int64
}

func newVerifier(artifact contracts.Artifact, r io.Reader) *verifier {
	h, err := blake2b.New256(nil)
	if err != nil {
		panic(err) // only for keys that are too long
	}
	return &verifier{artifact: artifact, r: r, hash: h}
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	if err != io.EOF {
		return n, err
	}
	if sum := hex.EncodeToString(v.hash.Sum(nil)); v.n != v.artifact.Size || sum != v.artifact.Checksum {
		return n, damage("output", fmt.Sprintf("has %d bytes of checksum %s; %d of %s were written", v.n, sum, v.artifact.Size, v.artifact.Checksum))
	}
	return n, io.EOF
}

// putEnvironment writes down what the environment digest of results stands for.
func (a *Archive) putEnvironment(ctx context.Context, record *contracts.EnvironmentRecord, digest string) error {
	data, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		return err
	}
	err = a.store.Create(ctx, a.environment(digest), append(data, '\n'))
	if errors.Is(err, blobstore.ErrExists) {
		return nil
	}
	return err
}

// Environment is the record of an environment digest, or nil when nobody wrote it down.
func (a *Archive) Environment(ctx context.Context, digest string) (*contracts.EnvironmentRecord, error) {
	data, err := blobstore.Read(ctx, a.store, a.environment(digest), 16<<20)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	record := &contracts.EnvironmentRecord{}
	if err := json.Unmarshal(data, record); err != nil || record.Digest() != digest {
		return nil, damage("environment record "+digest, "does not have its digest")
	}
	return record, nil
}

// Damage notes that a segment cannot be relied on: from then on its tasks count as not
// run.
func (a *Archive) Damage(ctx context.Context, segment, reason string) error {
	err := a.store.Create(ctx, a.damaged(segment), []byte(reason+"\n"))
	if errors.Is(err, blobstore.ErrExists) {
		return nil
	}
	return err
}

// damage is the error for stored bytes that are not what was written.
func damage(what, problem string) *contracts.Error {
	return &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageStore,
		Message: "stored " + what + " " + problem,
		Hint:    "submit the study again: what is damaged runs again, the rest is reused"}
}
