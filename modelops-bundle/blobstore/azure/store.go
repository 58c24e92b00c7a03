package azure

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// A larger object is sent as blocks, some at a time. A blob has at most 50,000 of them,
// which makes 390 GiB; memory is blockSize × blocksAtOnce for each Put.
const (
	blockSize    = 8 << 20
	blocksAtOnce = 3
)

// writerKey is the name in a blob's metadata of the token of the call that wrote it.
const writerKey = "modelopswriter"

func (s *Store) ready(ctx context.Context, key string) error {
	if err := blobstore.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

func (s *Store) blob(key string) *blockblob.Client {
	return s.client.NewBlockBlobClient(s.prefix + key)
}

// Get opens the object. What is read is of one version of it, whole, or ends in an error.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := s.ready(ctx, key); err != nil {
		return nil, err
	}
	return s.object(key).Open(ctx)
}

// Put writes the object, a block at a time.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	return s.write(ctx, key, r, nil)
}

// Create writes an object that is not there yet.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	absent := &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}
	return s.write(ctx, key, bytes.NewReader(data), absent)
}

func (s *Store) write(ctx context.Context, key string, r io.Reader, condition *blob.AccessConditions) error {
	writer := rand.Text()
	metadata := map[string]*string{writerKey: &writer}
	source := &source{r: r}
	first := &bytes.Buffer{}
	if _, err := io.Copy(first, io.LimitReader(source, blockSize)); err != nil {
		return err // of the caller's own reader
	}
	var err error
	if first.Len() < blockSize {
		_, err = s.blob(key).Upload(ctx, streaming.NopCloser(bytes.NewReader(first.Bytes())), &blockblob.UploadOptions{Metadata: metadata, AccessConditions: condition})
	} else {
		_, err = s.blob(key).UploadStream(ctx, io.MultiReader(first, source), &blockblob.UploadStreamOptions{
			BlockSize: blockSize, Concurrency: blocksAtOnce, Metadata: metadata, AccessConditions: condition})
	}
	switch {
	case source.err != nil:
		return source.err
	case err == nil:
		return nil
	case bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.TargetConditionNotMet):
		return s.whose(ctx, key, writer, blobstore.ErrExists)
	case bloberror.HasCode(err, bloberror.InvalidBlockList):
		// Another write was committed since ours began, and with it our blocks were
		// dropped: ours is the one that was overwritten, or came second.
		superseded := blobstore.ErrExists
		if condition == nil {
			superseded = nil
		}
		return s.whose(ctx, key, writer, superseded)
	}
	return s.translate("write", key, err)
}

// whose is nil when the blob is this writer's, and others when it is somebody else's.
func (s *Store) whose(ctx context.Context, key, writer string, others error) error {
	properties, err := s.blob(key).GetProperties(ctx, nil)
	if err := s.translate("write", key, err); errors.Is(err, blobstore.ErrNotFound) {
		return (&contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageStore, Retryable: true,
			Message: "storage: cannot write " + contracts.Quote(key) + ": it was written and deleted by others meanwhile", Hint: "try again"}).Because(others)
	} else if err != nil {
		return err
	}
	for name, value := range properties.Metadata {
		if strings.EqualFold(name, writerKey) && value != nil && *value == writer {
			return nil
		}
	}
	return others
}

// source remembers the error of the caller's reader: it is no error of the storage.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Delete removes the object.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	_, err := s.blob(key).Delete(ctx, nil)
	if err = s.translate("delete", key, err); errors.Is(err, blobstore.ErrNotFound) {
		return nil
	}
	return err
}

// List asks for a page of objects when the one before has been taken.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blobstore.Entry, error] {
	return func(yield func(blobstore.Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(blobstore.Entry{}, err)
			return
		}
		last := ""
		pages := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: to.Ptr(s.prefix + prefix)})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err == nil && page.Segment == nil {
				err = errors.New("a listing without its list")
			}
			if err != nil {
				yield(blobstore.Entry{}, s.translate("list", prefix, err))
				return
			}
			for _, item := range page.Segment.BlobItems {
				entry, ok := s.entry(item)
				if !ok {
					continue
				}
				if entry.Key <= last || isDirectory(item) {
					yield(blobstore.Entry{}, s.disorder())
					return
				}
				last = entry.Key
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}

// entry is false for what is no object of ours.
func (s *Store) entry(item *container.BlobItem) (blobstore.Entry, bool) {
	if item.Name == nil || item.Properties == nil || item.Properties.ContentLength == nil || item.Properties.LastModified == nil {
		return blobstore.Entry{}, false
	}
	key, ok := strings.CutPrefix(*item.Name, s.prefix)
	return blobstore.Entry{Key: key, Size: *item.Properties.ContentLength, Modified: *item.Properties.LastModified}, ok && blobstore.CheckKey(key) == nil
}

// isDirectory says whether a blob stands for a directory, which only a hierarchical
// namespace has.
func isDirectory(item *container.BlobItem) bool {
	kind := item.Properties.ResourceType
	return kind != nil && *kind == "directory"
}

// disorder is the error for an account that sorts its blobs by directories.
func (s *Store) disorder() *contracts.Error {
	return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageStore,
		Message: "storage: account " + contracts.Quote(s.account) + " does not list objects in the order of their names",
		Hint:    "use an account without a hierarchical namespace"}
}
