package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
)

// planAnswer is what push would do.
type planAnswer struct {
	pushAnswer
	DryRun      bool                    `json:"dry_run"`
	Changes     []fileChange            `json:"changes"`       // against what the tag points to now
	Blobs       []bundleoci.Layer       `json:"blobs"`         // that the registry lacks
	Stored      []bundleoci.StorageBlob `json:"storage_blobs"` // that the storage lacks
	BytesToSend int64                   `json:"bytes_to_send"`
}

// planPush says what a push would send, and does nothing.
func (s *session) planPush(root *os.Root, sources []bundle.Source, opts bundleoci.PushOptions) error {
	plan, err := s.repository.PlanPush(s.c.Context, root, sources, opts)
	if moved, ok := errors.AsType[*bundleoci.MovedError](err); ok {
		return s.explainMove(err, moved)
	}
	if err != nil {
		return err
	}
	before, err := s.base(plan.Current)
	if err := contracts.Except(err, contracts.CodeInvalidBundle, contracts.CodeUnsupported); err != nil {
		return err // what is no bundle of this format has no files to compare with
	}
	answer := planAnswer{
		pushAnswer: pushAnswer{
			Ref: plan.Ref, Digest: plan.Ref.Digest, ContentDigest: plan.Index.Content, Tag: opts.Tag, Environment: s.env.Environment,
			Files: len(plan.Index.Files), BytesTotal: plan.Index.Size(), Unchanged: plan.Unchanged,
		},
		DryRun: true, Changes: changesOf(before.Files, bundle.Identities(plan.Index.Files)), Blobs: plan.Missing, Stored: plan.MissingStored, BytesToSend: plan.Bytes(),
	}
	return command.Print(s.c, answer, func(w io.Writer) {
		fmt.Fprintln(w, answer.Ref)
		for _, change := range answer.Changes {
			fmt.Fprintf(w, "  %-8s %s\n", change.Change, contracts.Lines(change.Path))
		}
		switch {
		case answer.Unchanged:
			fmt.Fprintf(w, "%s:%s points to it already; a push would send nothing\n", s.repository.Location, opts.Tag)
		default:
			fmt.Fprintf(w, "%s; a push would send %d of %s, %s, and point %s:%s to it\n",
				contracts.Count(len(answer.Changes), "file differs", "files differ"), len(answer.Blobs)+len(answer.Stored), contracts.Count(blobCount(plan.Index), "blob", "blobs"), size(answer.BytesToSend), s.repository.Location, opts.Tag)
		}
	})
}

// blobCount is how many blobs a bundle has in a registry, its index included.
func blobCount(x *bundle.Index) int {
	distinct := map[contracts.Digest]bool{}
	for _, b := range x.Blobs {
		distinct[b.Stored] = true
	}
	return len(distinct) + 1
}

// changesOf lists what became of the files of before.
func changesOf(before, after map[string]string) []fileChange {
	words := map[bundle.Change]string{bundle.AddedHere: "added", bundle.ModifiedHere: "modified", bundle.DeletedHere: "deleted"}
	changes := []fileChange{}
	for _, d := range bundle.Compare(before, after, before) {
		changes = append(changes, fileChange{Path: d.Path, Change: words[d.Change]})
	}
	return changes
}
