package bundleoci

import (
	"context"
	"errors"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/modelops-suite/modelops-go/contracts"
)

// prepare finds out what need not be sent, and whether the tag points where this side did
// not expect it. The bundle may still be the one that it points to.
func (p *push) prepare(ctx context.Context) (moved bool, err error) {
	if err := p.survey(ctx); err != nil {
		return false, err
	}
	moved = !p.opts.Force && p.current != "" && p.current != p.opts.Base
	return moved, p.mount(ctx)
}

// survey reads the tag and the manifests whose blobs need not be asked for.
func (p *push) survey(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	isNew := func(ctx context.Context) (bool, error) { return p.repository.isNew(ctx) }
	if p.opts.Base == "" && len(p.opts.Known) == 0 { // it probably is
		isNew = ahead(func() (bool, error) { return p.repository.isNew(ctx) })
	}
	raw, err := p.repository.manifest(ctx, p.opts.Tag)
	switch {
	case err == nil:
		p.current = contracts.DigestOf(raw)
		p.learn(raw)
	case contracts.AsError(err).Code != contracts.CodeBundleNotFound:
		return err
	}
	for _, known := range p.opts.Known {
		if known == p.current {
			continue
		}
		raw, err := p.repository.manifest(ctx, string(known))
		if err == nil && contracts.DigestOf(raw) == known {
			p.learn(raw)
			return nil // the newest; its blobs are nearly all there are
		}
		if err != nil && contracts.AsError(err).Code != contracts.CodeBundleNotFound {
			return err
		}
	}
	if p.current == "" {
		p.fresh, err = isNew(ctx)
	}
	return contracts.Except(err, contracts.CodeBundleNotFound)
}

// learn takes the blobs of a manifest as present. A manifest that is none of ours
// teaches nothing.
func (p *push) learn(raw []byte) {
	m, err := parseManifest(raw)
	if err != nil {
		return
	}
	p.present[contracts.Digest(m.Config.Digest)] = true
	for _, l := range m.Layers {
		p.present[contracts.Digest(l.Digest)] = true
	}
}

// isNew says whether the registry does not know the repository at all, so that nothing
// can be in it.
func (r *Repository) isNew(ctx context.Context) (bool, error) {
	found := errors.New("found")
	err := r.remote.Tags(ctx, "", func([]string) error { return found })
	response, answered := errors.AsType[*errcode.ErrorResponse](err)
	switch {
	case err == nil, errors.Is(err, found):
		return false, nil
	case errors.Is(err, errdef.ErrNotFound), answered && response.StatusCode == 404:
		return true, nil
	}
	return false, r.translate(err, contracts.StagePush, r.Name)
}

// ahead begins something at once, and gives what waits for its end. Whoever waits no longer
// goes on without.
func ahead[T any](work func() (T, error)) func(context.Context) (T, error) {
	done := make(chan struct{})
	var result T
	var err error
	go func() {
		defer close(done)
		result, err = work()
	}()
	return func(ctx context.Context) (T, error) {
		select {
		case <-done:
			return result, err
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
}
