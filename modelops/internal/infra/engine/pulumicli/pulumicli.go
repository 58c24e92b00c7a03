// Package pulumicli finds, installs and runs Pulumi's command-line program, which is the
// engine that package engine drives.
//
// A program that is named must be fit: there is no falling back from it. Otherwise it is
// the first "pulumi" on PATH if its version is supported, else the pinned version that
// [Find] installed, or now installs, for the suite alone. A version is supported from
// [Version] up, below 4: the rule of the SDK that is linked.
//
// [Command] runs it so that nothing of it outlives its call, and so that an interrupt of
// the terminal reaches it once, and its plugins never: see there.
package pulumicli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/blang/semver"
	"github.com/gofrs/flock"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

// Version is the one that is installed and tested, and the oldest that is supported.
const Version = "3.255.0"

// Search says where the program may be.
type Search struct {
	Named   string   // the program itself, and NamedBy who names it; empty for none
	NamedBy string   // such as MODELOPS_PULUMI, or pulumi.cli in a file
	Environ []string // of the command: PATH, proxies
	Root    string   // where the suite installs: Root/v3.255.0/bin/pulumi
	// Install puts the pinned version into root/bin; nil is Pulumi's own installer.
	Install func(ctx context.Context, root string) error
	Note    func(line string) // may be nil
}

// Find is the program to run. It installs one when there is none: about 100 MB from
// get.pulumi.com.
func Find(ctx context.Context, s Search) (*Command, error) {
	found, unfit, err := Look(ctx, s)
	if found != nil || err != nil {
		return found, err
	}
	if err := s.install(ctx, unfit); err != nil {
		return nil, err
	}
	return open(ctx, s.own(), s.Environ, "the suite's own")
}

// Look is the program that Find would run. It is nil, without an error, when Find would
// first install one; unfit says why then.
func Look(ctx context.Context, s Search) (found *Command, unfit string, err error) {
	if s.Named != "" {
		found, err = open(ctx, s.Named, s.Environ, s.NamedBy)
		return found, "", err
	}
	unfit = "none is on PATH"
	if path := lookPath(s.Environ); path != "" {
		if found, err = open(ctx, path, s.Environ, "PATH"); err == nil {
			return found, "", nil
		}
		unfit = err.Error()
	}
	if _, err := os.Stat(s.own()); errors.Is(err, fs.ErrNotExist) {
		return nil, unfit, nil
	}
	found, err = open(ctx, s.own(), s.Environ, "the suite's own")
	return found, "", err
}

// own is where the suite installs the program.
func (s Search) own() string { return filepath.Join(s.Root, "v"+Version, "bin", executable) }

// install makes Root/v3.255.0 appear whole, however many do it at once.
func (s Search) install(ctx context.Context, unfit string) error {
	final := filepath.Join(s.Root, "v"+Version)
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return infra.Cannot("make", s.Root, err)
	}
	lock := flock.New(filepath.Join(s.Root, "install.lock"))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return infra.Cannot("lock", lock.Path(), err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	temporary, err := os.MkdirTemp(s.Root, ".installing-")
	if err != nil {
		return infra.Cannot("make a directory in", s.Root, err)
	}
	defer os.RemoveAll(temporary)
	if s.Note != nil {
		s.Note(fmt.Sprintf("installing Pulumi %s from get.pulumi.com into %s (%s): about 100 MB, once", Version, contracts.Quote(final), unfit))
	}
	install := s.Install
	if install == nil {
		install = download
	}
	err = install(ctx, temporary)
	if err == nil {
		_, err = open(ctx, filepath.Join(temporary, "bin", executable), s.Environ, "its installer")
	}
	if err != nil {
		return (&contracts.Error{Code: contracts.CodeUnavailable, Stage: contracts.StageProvision, Retryable: true,
			Message: fmt.Sprintf("Pulumi %s is needed (%s) and could not be installed from get.pulumi.com: %s", Version, unfit, contracts.Lines(err.Error())),
			Hint: fmt.Sprintf("without a network: unpack %s so that there is %s, or name the program with MODELOPS_PULUMI",
				archive(), contracts.Quote(filepath.Join(final, "bin", executable)))}).Because(err)
	}
	if err := os.Rename(temporary, final); err != nil {
		return infra.Cannot("rename", temporary, err)
	}
	return nil
}

// download runs Pulumi's own installer.
func download(ctx context.Context, root string) error {
	version, err := semver.Parse(Version)
	if err != nil {
		return err
	}
	_, err = auto.InstallPulumiCommand(ctx, &auto.PulumiCommandOptions{Root: root, Version: version})
	return err
}

// archive is where the pinned version can be had by hand.
func archive() string {
	arch, kind := runtime.GOARCH, "tar.gz"
	if arch == "amd64" {
		arch = "x64"
	}
	if runtime.GOOS == "windows" {
		kind = "zip"
	}
	return fmt.Sprintf("https://get.pulumi.com/releases/sdk/pulumi-v%s-%s-%s.%s", Version, runtime.GOOS, arch, kind)
}

// open is the program at path, if it is one and its version is supported.
func open(ctx context.Context, path string, environ []string, by string) (*Command, error) {
	unfit := func(problem string) error {
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("the Pulumi program %s (by %s) %s", contracts.Quote(path), by, problem),
			Hint:    fmt.Sprintf("supported are versions %s and newer, below 4; without MODELOPS_PULUMI and pulumi.cli one that fits is found or installed", Version)}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, unfit(err.Error())
	}
	c := &Command{path: path, environ: own(environ)}
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = append(c.environ, "PULUMI_SKIP_UPDATE_CHECK=true")
	cmd.WaitDelay = waitDelay
	out, err := cmd.Output()
	if err != nil {
		reason := err.Error()
		if pathError, ok := errors.AsType[*fs.PathError](err); ok {
			reason = pathError.Err.Error()
		}
		return nil, unfit("does not run: " + reason)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	c.version, err = semver.ParseTolerant(line)
	if err != nil {
		return nil, unfit("does not say its version: " + contracts.Quote(line))
	}
	// A pre-release of the oldest version is older than it, and so is not supported.
	if oldest := semver.MustParse(Version); c.version.LT(oldest) || c.version.Major != oldest.Major {
		return nil, unfit("is version " + c.version.String())
	}
	return c, nil
}

// lookPath finds pulumi on the PATH of an environment, and is empty when it is not there.
func lookPath(environ []string) string {
	for _, dir := range filepath.SplitList(variable(environ, "PATH")) {
		path := filepath.Join(dir, executable)
		if info, err := os.Stat(path); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && runnable(info) {
			return path
		}
	}
	return ""
}

func variable(environ []string, name string) (value string) {
	for _, pair := range environ {
		if key, v, _ := strings.Cut(pair, "="); sameName(key, name) {
			value = v
		}
	}
	return value
}

// own is an environment without what configures somebody else's Pulumi: their backend,
// passphrase, tokens and options.
func own(environ []string) []string {
	var kept []string
	for _, pair := range environ {
		if !strings.HasPrefix(strings.ToUpper(pair), "PULUMI_") {
			kept = append(kept, pair)
		}
	}
	return kept
}
