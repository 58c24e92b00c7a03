package azure

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/internal/remote"
)

func (s *Store) object(key string) *remote.Object {
	failed := func(err error) error { return s.translate("read", key, err) }
	from := func(ctx context.Context, at int64, version string) (*remote.Rest, error) {
		opts := &blob.DownloadStreamOptions{}
		if version != "" {
			opts.Range.Offset = at
			opts.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(version))}}
		}
		answer, err := s.blob(key).DownloadStream(ctx, opts)
		if bloberror.HasCode(err, bloberror.ConditionNotMet) {
			return nil, remote.Rewritten(key)
		}
		if err != nil {
			return nil, failed(err)
		}
		if answer.ContentLength == nil || answer.ETag == nil {
			_ = answer.Body.Close()
			return nil, failed(errors.New("an answer without length or ETag"))
		}
		return &remote.Rest{Body: answer.Body, Version: string(*answer.ETag), Size: *answer.ContentLength}, nil
	}
	return &remote.Object{Limits: s.limits, From: from, Failed: failed}
}
