package driver

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/modelops-suite/modelops-go/contracts"
)

// spill puts outputs that an evaluation has no room for into the storage, several at once.
type spill struct {
	*attempt
	room int             // bytes that are left
	put  map[string]bool // checksums
	puts errgroup.Group
}

func newSpill(a *attempt) *spill {
	s := &spill{attempt: a, room: a.Inline, put: map[string]bool{}}
	s.puts.SetLimit(uploads)
	return s
}

// refer has the outputs that there is no room for refer to the storage, where they are when
// puts are over. It waits while too many are on their way.
func (s *spill) refer(ctx context.Context, outputs map[string]contracts.Artifact) {
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		artifact := outputs[name]
		if artifact.Ref != "" {
			continue
		}
		if len(artifact.Inline) <= s.room {
			s.room -= len(artifact.Inline)
			continue
		}
		referring := artifact
		referring.Inline, referring.Ref = nil, contracts.BlobRef(artifact.Checksum)
		outputs[name] = referring
		if s.put[artifact.Checksum] {
			continue
		}
		s.put[artifact.Checksum] = true
		s.puts.Go(func() error {
			return s.persist(ctx, "store output "+contracts.Quote(name)+" for an evaluation", func(ctx context.Context) error {
				_, err := s.results.PutBlob(ctx, artifact, bytes.NewReader(artifact.Inline))
				return err
			})
		})
	}
}
