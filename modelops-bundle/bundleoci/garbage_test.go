package bundleoci_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// What a tag, an index with a tag, a referrer, or a tag in the name of a digest leads to is
// kept; what nothing leads to is not.
func TestJudge(t *testing.T) {
	registry := bundletest.NewRegistry(t)
	push := func(content string) contracts.Digest {
		return bundletest.Push(t, registry, "team/seir", bundletest.Files{"shared": "x", "own": content}).Digest
	}
	want := map[contracts.Digest]string{}
	free, signed, older, part, subject := push("free"), push("signed"), push("older"), push("part"), push("subject")
	want[push("latest")] = "tag latest"
	want[contracts.DigestOf([]byte("x"))] = "the registry has it no more"

	other, err := remote.NewRepository(registry.Host + "/team/seir")
	if err != nil {
		t.Fatal(err)
	}
	other.PlainHTTP = true
	describe := func(d contracts.Digest) ocispec.Descriptor {
		found, err := other.Manifests().Resolve(t.Context(), string(d))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	pack := func(of *ocispec.Descriptor, tag string) {
		m, err := oras.PackManifest(t.Context(), other, oras.PackManifestVersion1_1, "application/x-signature", oras.PackManifestOptions{Subject: of})
		if err != nil {
			t.Fatal(err)
		}
		if tag != "" {
			if err := other.Tag(t.Context(), m, tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := describe(signed)
	pack(&d, "")
	want[signed] = "1 manifest refers to it"
	d = describe(subject)
	pack(&d, "report")
	want[subject] = "tag report refers to it"
	if err := other.Tag(t.Context(), describe(free), strings.Replace(string(older), ":", "-", 1)+".sig"); err != nil {
		t.Fatal(err)
	}
	want[older] = "refers to it"
	want[free] = ".sig" // it has that tag
	index := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + string(part) + `","size":` +
		strconv.FormatInt(describe(part).Size, 10) + `}]}`
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString(index), Size: int64(len(index))}
	if err := other.Manifests().PushReference(t.Context(), desc, strings.NewReader(index), "both"); err != nil {
		t.Fatal(err)
	}
	want[part] = "part of tag both"
	const loose = "no tag and no other manifest leads to it"
	want[push("loose")], want[push("loose, too")] = loose, loose
	push("latest") // the tag points to it again

	repository, err := bundleoci.Open(registry.Environment(), "team/seir", bundleoci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var digests []contracts.Digest
	for d := range want {
		digests = append(digests, d)
	}
	verdicts, err := repository.Judge(t.Context(), digests)
	if err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for _, v := range verdicts {
		if v.Unused != (want[v.Digest] == loose) || !strings.Contains(v.Why, want[v.Digest]) {
			t.Errorf("%s: %+v, want %q", v.Digest.Short(), v, want[v.Digest])
		}
		if v.Unused && v.Bytes > 2000 {
			t.Errorf("%d bytes: what others have is counted", v.Bytes)
		}
		if v.Unused {
			if err := repository.Delete(t.Context(), v); err != nil {
				t.Error(err)
			}
			deleted++
		} else if err := repository.Delete(t.Context(), v); err == nil {
			t.Errorf("%s is deleted although %s", v.Digest, v.Why)
		}
	}
	if deleted != 2 {
		t.Errorf("%d were deleted", deleted)
	}

	// A registry that does not say is no registry without tags.
	for _, part := range []string{"/tags/list", "/manifests/", "/referrers/"} {
		loose := push("loose")
		push("latest")
		registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			broken := strings.Contains(r.URL.Path, part)
			if broken {
				w.WriteHeader(http.StatusForbidden)
			}
			return broken
		})
		if verdicts, err := repository.Judge(t.Context(), []contracts.Digest{loose}); err == nil {
			t.Errorf("%s: %+v", part, verdicts)
		}
		registry.Intercept(nil)
	}
}
