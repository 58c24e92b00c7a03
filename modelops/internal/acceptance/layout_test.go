package acceptance

import (
	"path/filepath"
	"strings"
	"testing"
)

// What export writes other clients read, and what they write import reads; the digest is
// the same everywhere.
func TestLayouts(t *testing.T) {
	u := newUser(t).up()
	registry := u.registryOf("local")
	u.ok("modelops-bundle", "init", "team/seir", "--template", "minimal")
	project := u.cd("seir")
	project.write("data/table.csv", strings.Repeat("0.123,4.567,8.9\n", 200_000))
	ref := strings.TrimSpace(project.ok("modelops-bundle", "push", "--tag", "v1"))
	_, digest, _ := strings.Cut(ref, "@")
	u.ok("modelops-bundle", "export", "team/seir:v1", "seir.tar")
	u.ok("modelops-bundle", "export", "team/seir:v1", "layout")

	for _, path := range []string{"seir.tar", "layout"} {
		if got := u.ok("oras", "resolve", "--oci-layout", path+":v1"); strings.TrimSpace(got) != digest {
			t.Errorf("oras says that %s has %s, pushed was %s", path, got, digest)
		}
		name := strings.TrimSuffix("by-oras-"+path, ".tar")
		u.ok("oras", "cp", "--from-oci-layout", path+":v1", "--to-plain-http", registry+"/"+name+":v1")
		u.ok("modelops-bundle", "verify", name+"@"+digest)
		u.ok("crane", "validate", "--insecure", "--remote", registry+"/"+name+":v1")
	}
	u.ok("crane", "push", "--insecure", "layout", registry+"/by-crane:v1")
	u.ok("modelops-bundle", "verify", "by-crane@"+digest)

	// The other way, and in a tar file that tar made.
	u.ok("oras", "cp", "--from-plain-http", registry+"/team/seir:v1", "--to-oci-layout", "theirs:v1")
	tar := u.command("tar", "-cf", "theirs.tar", "-C", "theirs", ".")
	tar.Path = "/usr/bin/tar"
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range []string{"theirs", "theirs.tar"} {
		var imported struct{ Digest string }
		u.json(&imported, "modelops-bundle", "import", path, "imported/"+strings.TrimSuffix(path, ".tar"), "--tag", strings.ReplaceAll(filepath.Base(path), ".", "-"))
		if imported.Digest != digest {
			t.Errorf("%s is imported as %s", path, imported.Digest)
		}
	}
}

// Real registries delete what gc names, and keep the rest whole.
func TestGarbage(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *user) string{
		"embedded": func(t *testing.T, u *user) string { return u.up().registryOf("local") },
		"debian":   func(t *testing.T, _ *user) string { return debianRegistry(t) },
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			registry := start(t, u)
			if registry == "" {
				return
			}
			u.environment("test", registry)
			u.env = append(u.env, "MODELOPS_ENV=test")
			u.ok("modelops-bundle", "init", "team/seir", "--template", "minimal")
			project := u.cd("seir")
			var refs []string
			for _, tag := range []string{"latest", "job-1", "latest", "latest"} {
				project.write("data.txt", strings.Repeat(tag+" ", len(refs)+1))
				refs = append(refs, strings.TrimSpace(project.ok("modelops-bundle", "push", "--tag", tag)))
			}
			var answer struct {
				Bundles []struct {
					Digest string
					Unused bool
				}
			}
			project.json(&answer, "modelops-bundle", "gc", "--grace", "0s", "--delete")
			if len(answer.Bundles) != len(refs) {
				t.Errorf("%+v", answer)
			}
			for i, kept := range []bool{false, true, false, true} {
				_, _, code := project.run("modelops-bundle", "verify", refs[i])
				if kept != (code == 0) {
					t.Errorf("push %d: exit code %d, kept: %v", i, code, kept)
				}
			}
		})
	}
}
