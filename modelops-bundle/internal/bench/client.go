//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// station is one client's place in one round: what it pushes and pulls, and where it
// keeps its caches. Pusher and puller are two people with homes of their own.
type station struct {
	dir    string // of all that follows
	source string
	target string
	host   string // of the relay
	bin    string // of the suite's programs
	peers  string
	ref    string // what the last push of modelops-bundle printed: project@sha256:…
}

// invocation is a command in a directory.
type invocation struct {
	dir  string
	home string // push or pull
	argv []string
}

// client is one way to move a directory. This file is the one place that says how each
// is driven; how is the line about it on the page.
type client struct {
	name, how   string
	ours        bool
	pullOnly    bool
	prepare     func(*station) []invocation // not measured
	push        func(*station) (invocation, error)
	pull        func(s *station, step string) invocation
	needsTarget bool // the target directory must exist
}

const repository = "bench"

func (s *station) tagged() string { return s.host + "/" + repository + ":latest" }

func (s *station) shell(dir, home, script string, args ...string) invocation {
	return invocation{dir, home, append([]string{"sh", "-euc", script, "sh"}, args...)}
}

func clients() []client {
	suite := func(s *station) []invocation {
		return []invocation{{s.source, "push", []string{s.bin + "/modelops-bundle", "init", ".", "--name", repository, "--template", "command"}}}
	}
	suitePush := func(s *station) (invocation, error) {
		return invocation{s.source, "push", []string{s.bin + "/modelops-bundle", "push"}}, nil
	}
	return []client{
		{
			name: "modelops-bundle", ours: true,
			how:     "`push` in a project; `pull REF DIR`, then `pull REF@DIGEST` (warm) and `pull` (edit) there",
			prepare: suite, push: suitePush,
			pull: func(s *station, step string) invocation {
				program := s.bin + "/modelops-bundle"
				switch step {
				case "cold":
					return invocation{s.dir, "pull", []string{program, "pull", repository + ":latest", s.target}}
				case "warm":
					return invocation{s.target, "pull", []string{program, "pull", s.ref}}
				}
				return invocation{s.target, "pull", []string{program, "pull"}}
			},
		},
		{
			name: "bundle-worker", ours: true, pullOnly: true,
			how:     "`ensure-local REF@DIGEST` into the node's cache; pushed by `modelops-bundle`",
			prepare: suite, push: suitePush,
			pull: func(s *station, _ string) invocation {
				return invocation{s.dir, "pull", []string{s.bin + "/bundle-worker", "ensure-local", s.ref}}
			},
		},
		{
			name: "oras", needsTarget: true,
			how: "`push` with every file as an argument, one layer each; `pull -o DIR` with `ORAS_CACHE` set",
			push: func(s *station) (invocation, error) {
				files, err := s.files()
				return invocation{s.source, "push", append([]string{s.peers + "/oras", "push", "--no-tty", "--plain-http", s.tagged()}, files...)}, err
			},
			pull: func(s *station, _ string) invocation {
				return invocation{s.dir, "pull", []string{s.peers + "/oras", "pull", "--no-tty", "--plain-http", "-o", s.target, s.tagged()}}
			},
		},
		{
			name: "oras (one tar)", needsTarget: true,
			how: "`push` of the directory, which oras makes into one tar.gz; `pull -o DIR` without a cache",
			push: func(s *station) (invocation, error) {
				return s.shell(s.dir, "push", `unset ORAS_CACHE; exec "$1/oras" push --no-tty --plain-http "$2" source`, s.peers, s.tagged()), nil
			},
			pull: func(s *station, _ string) invocation {
				return s.shell(s.dir, "pull", `unset ORAS_CACHE; exec "$1/oras" pull --no-tty --plain-http -o "$2" "$3"`, s.peers, s.target, s.tagged())
			},
		},
		{
			name: "crane", needsTarget: true,
			how: "`tar` piped into `append`; `export` piped into `tar`",
			push: func(s *station) (invocation, error) {
				return s.shell(s.dir, "push", `tar -C source -cf - . | "$1/crane" append --oci-empty-base -f - -t "$2"`, s.peers, s.tagged()), nil
			},
			pull: func(s *station, _ string) invocation {
				return s.shell(s.dir, "pull", `"$1/crane" export "$2" - | tar -C "$3" -xf -`, s.peers, s.tagged(), s.target)
			},
		},
		{
			name: "regctl", needsTarget: true,
			how: "`artifact put` with every file, one layer each; `artifact get --output DIR`",
			prepare: func(s *station) []invocation {
				set := []string{s.peers + "/regctl", "registry", "set", s.host, "--tls", "disabled"}
				return []invocation{{s.dir, "push", set}, {s.dir, "pull", set}}
			},
			push: func(s *station) (invocation, error) {
				files, err := s.files()
				argv := []string{s.peers + "/regctl", "artifact", "put", "--artifact-type", "application/vnd.bench", "--file-title"}
				for _, file := range files {
					argv = append(argv, "--file", file, "--file-media-type", "application/octet-stream")
				}
				return invocation{s.source, "push", append(argv, s.tagged())}, err
			},
			pull: func(s *station, _ string) invocation {
				return invocation{s.dir, "pull", []string{s.peers + "/regctl", "artifact", "get", "--output", s.target, s.tagged()}}
			},
		},
	}
}

// files are those of the source, relative to it, in the order of their names.
func (s *station) files() ([]string, error) {
	var files []string
	err := filepath.WalkDir(s.source, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, strings.TrimPrefix(path, s.source+"/"))
		}
		return err
	})
	return files, err
}

// environ is all that a command sees of its environment.
func (s *station) environ(home string) []string {
	home = filepath.Join(s.dir, "home-"+home)
	return []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.dir, "HOME=" + home, "MODELOPS_HOME=" + home + "/.modelops",
		"MODELOPS_BUNDLES_CACHE_DIR=" + home + "/bundles", "ORAS_CACHE=" + home + "/oras",
	}
}

// furnish makes the homes, each with an environment file for the suite's programs.
func (s *station) furnish() error {
	for _, home := range []string{"push", "pull"} {
		dir := filepath.Join(s.dir, "home-"+home, ".modelops", "bundle-env")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		file := fmt.Sprintf("environment: bench\nregistry: {provider: docker, login_server: %q}\n", s.host)
		if err := os.WriteFile(filepath.Join(dir, "bench.yaml"), []byte(file), 0o600); err != nil {
			return err
		}
	}
	return nil
}
