package acceptance

import (
	"path/filepath"
	"strings"
	"testing"
)

// Real clients list, copy and validate what was pushed, and what they copied can be
// pulled.
func TestRealClients(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *user) string{
		"embedded": func(t *testing.T, u *user) string { return u.up().registryOf("local") },
		"debian":   func(t *testing.T, u *user) string { return debianRegistry(t) },
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
			project.write("data/table.csv", strings.Repeat("0.123,4.567,8.9\n", 200_000))
			project.write("data/empty", "")
			ref := strings.TrimSpace(project.ok("modelops-bundle", "push"))
			_, digest, _ := strings.Cut(ref, "@")
			there := registry + "/team/seir:latest"

			if got := u.ok("oras", "repo", "tags", "--plain-http", registry+"/team/seir"); strings.TrimSpace(got) != "latest" {
				t.Errorf("oras lists the tags %q", got)
			}
			if got := u.ok("crane", "ls", "--insecure", registry+"/team/seir"); strings.TrimSpace(got) != "latest" {
				t.Errorf("crane lists the tags %q", got)
			}
			if got := u.ok("crane", "digest", "--insecure", there); strings.TrimSpace(got) != digest {
				t.Errorf("crane says the digest is %s, push said %s", got, digest)
			}
			if got := u.ok("oras", "resolve", "--plain-http", there); strings.TrimSpace(got) != digest {
				t.Errorf("oras says the digest is %s, push said %s", got, digest)
			}
			if _, errs, code := u.run("crane", "validate", "--insecure", "--remote", there); code != 0 {
				t.Errorf("crane does not find it valid: %s", errs)
			}
			u.ok("oras", "cp", "--from-plain-http", "--to-plain-http", there, registry+"/copied/by-oras:v1")
			u.ok("crane", "copy", "--insecure", there, registry+"/copied/by-crane:v1")
			u.ok("oras", "cp", "--from-plain-http", there, "--to-oci-layout", filepath.Join(u.dir, "layout:v1"))
			for _, copied := range []string{"copied/by-oras", "copied/by-crane"} {
				var pulled struct{ Digest string }
				u.json(&pulled, "modelops-bundle", "pull", copied+":v1", filepath.Base(copied))
				if pulled.Digest != digest {
					t.Errorf("%s has the digest %s, pushed was %s", copied, pulled.Digest, digest)
				}
				if u.cd(filepath.Base(copied)).read("data/table.csv") != project.read("data/table.csv") {
					t.Errorf("%s does not have the bytes that were pushed", copied)
				}
			}
		})
	}
}

// Whoever has oras alone gets the files of a bundle in the files format, and so do we.
func TestFilesFormat(t *testing.T) {
	registry := debianRegistry(t)
	if registry == "" {
		return
	}
	u := newUser(t)
	u.environment("test", registry)
	u.env = append(u.env, "MODELOPS_ENV=test")
	u.ok("modelops-bundle", "init", "team/seir", "--template", "minimal")
	project := u.cd("seir")
	project.write("data/table.csv", strings.Repeat("0.123,4.567,8.9\n", 200_000))
	project.write("copy.csv", project.read("data/table.csv"))
	project.write("pkg/__init__.py", "")
	project.write("pkg/sub/__init__.py", "")
	project.ok("modelops-bundle", "push", "--format", "files")
	u.ok("oras", "pull", "--plain-http", "--output", "by-oras", registry+"/team/seir:latest")
	u.ok("modelops-bundle", "pull", "team/seir:latest", "by-us")
	u.ok("crane", "copy", "--insecure", registry+"/team/seir:latest", registry+"/copied/seir:latest")
	u.ok("modelops-bundle", "pull", "copied/seir:latest", "by-crane")
	for _, pulled := range []string{"by-oras", "by-us", "by-crane"} {
		for _, name := range []string{"wire.py", "data/table.csv", "copy.csv", "pkg/__init__.py", "pkg/sub/__init__.py"} {
			if u.cd(pulled).read(name) != project.read(name) {
				t.Errorf("%s: %s does not have the bytes that were pushed", pulled, name)
			}
		}
	}
	var again struct{ Unchanged bool }
	if project.json(&again, "modelops-bundle", "push", "--format", "files"); !again.Unchanged {
		t.Error("a push of the same files is another bundle")
	}
}
