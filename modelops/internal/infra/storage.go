package infra

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
)

// ProveStorage writes a small object, asks for it a second time to be created, which
// must be refused, and removes it: jobs record what happened by objects that are made
// exactly once.
func ProveStorage(ctx context.Context, store blobstore.Writer) (err error) {
	key := "probe/" + rand.Text()
	if err := store.Create(ctx, key, []byte("{}")); err != nil {
		return err
	}
	defer func() {
		if deleteErr := store.Delete(ctx, key); err == nil {
			err = deleteErr
		}
	}()
	switch err := store.Create(ctx, key, []byte("{}")); {
	case errors.Is(err, blobstore.ErrExists):
		return nil
	case err != nil:
		return err
	}
	return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageStore,
		Message: "the storage writes over an object that was to be created once",
		Hint:    "use a storage that supports conditional writes (If-None-Match)"}
}
