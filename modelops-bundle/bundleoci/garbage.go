package bundleoci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/modelops-suite/modelops-go/contracts"
)

// asking is how many questions a registry is asked at a time.
const asking = 8

// Verdict says whether a manifest of a repository can be deleted, and why not.
type Verdict struct {
	Digest contracts.Digest `json:"digest"`
	// Unused is that nothing leads to it: no tag, no manifest with a tag, and no manifest
	// that refers to it.
	Unused bool   `json:"unused"`
	Gone   bool   `json:"gone,omitempty"` // the registry has it no more
	Why    string `json:"why"`
	// Bytes is how much of it no manifest with a tag has: what the registry can free, in
	// time, by its own garbage collection.
	Bytes int64 `json:"bytes"`

	descriptor ocispec.Descriptor
}

// survey is what the tags of a repository lead to.
type survey struct {
	repository *Repository

	mu    sync.Mutex
	used  map[contracts.Digest]string // why
	blobs map[digest.Digest]bool
}

// Judge looks at every tag of the repository and says which of the digests nothing leads
// to. A question that is not answered is an error, and never a no.
//
// The distribution protocol does not list manifests without tags: they must be known.
func (r *Repository) Judge(ctx context.Context, digests []contracts.Digest) ([]Verdict, error) {
	tags, err := r.Tags(ctx)
	if err := contracts.Except(err, contracts.CodeBundleNotFound); err != nil {
		return nil, err
	}
	s := &survey{repository: r, used: map[contracts.Digest]string{}, blobs: map[digest.Digest]bool{}}
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(asking)
	for _, tag := range tags {
		s.named(tag)
		group.Go(func() error { return s.follow(limited, tag, "tag "+contracts.Lines(tag)) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(digests))
	group, limited = errgroup.WithContext(ctx)
	group.SetLimit(asking)
	for i, d := range digests {
		group.Go(func() (err error) {
			verdicts[i], err = s.judge(limited, d)
			return err
		})
	}
	return verdicts, group.Wait()
}

// named takes a tag like sha256-HEX.sig, with which older tools refer to a manifest, for a
// use of it.
func (s *survey) named(tag string) {
	hex, ok := strings.CutPrefix(tag, "sha256-")
	if !ok || len(hex) < 64 {
		return
	}
	if d, err := contracts.ParseDigest("sha256:" + hex[:64]); err == nil {
		s.use(d, "tag "+contracts.Lines(tag)+" refers to it")
	}
}

// use notes a use, and says whether it is the first.
func (s *survey) use(d contracts.Digest, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.used[d]
	if !known {
		s.used[d] = why
	}
	return !known
}

// linked is what of a manifest leads to others.
type linked struct {
	MediaType string               `json:"mediaType"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   *ocispec.Descriptor  `json:"subject"`
	Config    ocispec.Descriptor   `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
}

func (l *linked) blobs() []ocispec.Descriptor {
	return append([]ocispec.Descriptor{l.Config}, l.Layers...)
}

// follow notes what a tag or a digest leads to.
func (s *survey) follow(ctx context.Context, reference, why string) error {
	raw, err := s.repository.manifest(ctx, reference)
	if contracts.AsError(err) != nil && contracts.AsError(err).Code == contracts.CodeBundleNotFound {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	if !s.use(contracts.DigestOf(raw), why) {
		return nil
	}
	var m linked
	if err := json.Unmarshal(raw, &m); err != nil {
		return invalidManifest("of " + why + " is not JSON")
	}
	if m.Subject != nil {
		s.use(contracts.Digest(m.Subject.Digest), why+" refers to it")
	}
	s.mu.Lock()
	for _, d := range m.blobs() {
		s.blobs[d.Digest] = true
	}
	s.mu.Unlock()
	for _, d := range m.Manifests {
		if _, err := contracts.ParseDigest(string(d.Digest)); err != nil {
			continue // not of a kind that could be deleted here
		}
		if err := s.follow(ctx, string(d.Digest), "part of "+strings.TrimPrefix(why, "part of ")); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) judge(ctx context.Context, d contracts.Digest) (Verdict, error) {
	if why, used := s.used[d]; used {
		return Verdict{Digest: d, Why: why}, nil
	}
	raw, err := s.repository.manifest(ctx, string(d))
	if contracts.AsError(err) != nil && contracts.AsError(err).Code == contracts.CodeBundleNotFound {
		return Verdict{Digest: d, Gone: true, Why: "the registry has it no more"}, nil
	}
	if err != nil {
		return Verdict{}, err
	}
	var m linked
	if err := json.Unmarshal(raw, &m); err != nil || contracts.DigestOf(raw) != d {
		return Verdict{}, invalidManifest(string(d) + " is broken")
	}
	v := Verdict{Digest: d, Bytes: int64(len(raw)), descriptor: descriptor(d, int64(len(raw)), m.MediaType)}
	referrers := 0
	err = s.repository.remote.Referrers(ctx, v.descriptor, "", func(page []ocispec.Descriptor) error {
		referrers += len(page)
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errdef.ErrNotFound):
		return v, s.repository.translate(err, contracts.StageResolve, "the referrers of "+string(d))
	case referrers > 0:
		return Verdict{Digest: d, Why: contracts.Count(referrers, "manifest refers", "manifests refer") + " to it"}, nil
	}
	seen := map[digest.Digest]bool{}
	for _, blob := range m.blobs() {
		if !s.blobs[blob.Digest] && !seen[blob.Digest] {
			seen[blob.Digest] = true
			v.Bytes += blob.Size
		}
	}
	v.Unused, v.Why = true, "no tag and no other manifest leads to it"
	return v, nil
}

// Delete deletes a manifest that [Repository.Judge] has just found unused. A registry that
// does not let manifests be deleted is an error of [contracts.CodeUnsupported].
func (r *Repository) Delete(ctx context.Context, v Verdict) error {
	if !v.Unused {
		return fmt.Errorf("%s is in use: %s", v.Digest, v.Why)
	}
	err := r.remote.Manifests().Delete(ctx, v.descriptor)
	if response, answered := errors.AsType[*errcode.ErrorResponse](err); answered {
		switch response.StatusCode {
		case http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotImplemented:
			return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StagePush,
				Message: "registry " + contracts.Quote(r.Location.Host) + " does not let manifests be deleted" + said(response),
				Hint:    "allow deletion in the registry's configuration, or use its own rules for what has no tag"}
		}
	}
	return contracts.Except(r.translate(err, contracts.StagePush, string(v.Digest)), contracts.CodeBundleNotFound)
}
