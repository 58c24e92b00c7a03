package bundleoci

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Untag removes a tag, and never the bundle, which may have others: a tag is deleted by
// its name, and no manifest by its digest. A tag that is not there is an error of
// [contracts.CodeBundleNotFound]; a registry that does not let tags be removed, one of
// [contracts.CodeUnsupported].
func (r *Repository) Untag(ctx context.Context, tag string) error {
	if err := contracts.ValidateTag(tag); err != nil {
		return err
	}
	what := r.Name + ":" + tag
	ctx = auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull, auth.ActionDelete)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, r.tagURL(tag), nil)
	if err != nil {
		return r.translate(err, contracts.StagePush, what)
	}
	response, err := r.remote.Client.Do(req)
	if err != nil {
		return r.translate(err, contracts.StagePush, what)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusAccepted, http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotImplemented:
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StagePush,
			Message: "registry " + contracts.Quote(r.Location.Host) + " does not let tag " + tag + " of " + r.Name + " be removed",
			Hint:    "remove it by the registry's own means, if it has any"}
	}
	return r.translate(refusal(response), contracts.StagePush, what)
}

// refusal is an answer as an error, with the reasons that the registry gives.
func refusal(response *http.Response) error {
	e := &errcode.ErrorResponse{Method: response.Request.Method, URL: response.Request.URL, StatusCode: response.StatusCode}
	var body struct{ Errors *errcode.Errors }
	body.Errors = &e.Errors
	_ = json.NewDecoder(io.LimitReader(response.Body, maxManifest)).Decode(&body) // the status alone says enough
	return e
}

// tagURL is where a tag is deleted. Azure's registries delete a manifest, with all its
// tags, where others delete a tag, and have a place of their own for that.
func (r *Repository) tagURL(tag string) string {
	if r.registry.Provider == "acr" {
		return r.origin() + "/acr/v1/" + r.remote.Reference.Repository + "/_tags/" + tag
	}
	return r.address("manifests", tag)
}

// address is where something of the repository is, by its kind and its reference.
func (r *Repository) address(kind, reference string) string {
	return r.origin() + "/v2/" + r.remote.Reference.Repository + "/" + kind + "/" + reference
}

func (r *Repository) origin() string {
	scheme := "https"
	if r.remote.PlainHTTP {
		scheme = "http"
	}
	return scheme + "://" + r.remote.Reference.Host()
}
