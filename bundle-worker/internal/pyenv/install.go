//go:build unix

package pyenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
	"github.com/modelops-suite/modelops-go/contracts"
)

// installer is a program that builds environments.
type installer struct {
	name string // as it is named to people and in keys
	path string // of uv; empty for Python's own venv and pip
}

// chooseInstaller takes uv where there is one, and Python's own tools otherwise. A uv.lock
// says more than pip can read, so it is not ignored.
func chooseInstaller(base string, w *wants) (installer, error) {
	if uv, err := exec.LookPath("uv"); err == nil {
		return installer{"uv", uv}, nil
	}
	if w.source == "uv.lock" {
		return installer{}, dependencies("the bundle's dependencies are locked in uv.lock, and this worker has no uv",
			"install uv where bundle-worker runs, or export the lock: uv export --format requirements-txt > requirements.txt, and leave uv.lock out")
	}
	if exec.Command(base, "-I", "-c", "import venv, ensurepip").Run() != nil {
		return installer{}, dependencies("the worker's Python has neither venv nor pip, and there is no uv",
			"install uv, or the packages python3-venv and python3-pip, where bundle-worker runs")
	}
	return installer{"pip", ""}, nil
}

// install fills dir, which is empty, with an environment.
func (t installer) install(ctx context.Context, opts Options, plan buildPlan, dir string) error {
	for _, argv := range t.steps(plan, dir) {
		if err := runInstaller(ctx, opts, t.name, dir, argv); err != nil {
			return err
		}
	}
	return nil
}

// steps are the commands of a build.
func (t installer) steps(plan buildPlan, dir string) [][]string {
	python := filepath.Join(dir, "bin", "python")
	w := plan.wants
	var what []string
	switch w.source {
	case "uv.lock":
		return [][]string{
			{t.path, "venv", "--no-config", "--quiet", "--allow-existing", "--python", plan.base, dir},
			{t.path, "sync", "--no-config", "--frozen", "--no-install-project", "--no-default-groups", "--active", "--no-cache", "--project", w.bundle},
		}
	case "requirements.txt":
		what = []string{"-r", filepath.Join(w.bundle, "requirements.txt")}
		if w.hashed {
			what = append(what, "--require-hashes")
		}
	default:
		what = append([]string{"--"}, w.dependencies...)
	}
	if w.wheels {
		what = append([]string{"--find-links", filepath.Join(w.bundle, "wheels")}, what...)
	}
	if t.path != "" {
		return [][]string{
			{t.path, "venv", "--no-config", "--quiet", "--allow-existing", "--python", plan.base, dir},
			append([]string{t.path, "pip", "install", "--no-config", "--python", python}, what...),
		}
	}
	return [][]string{
		{plan.base, "-I", "-m", "venv", dir},
		append([]string{python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location", "--no-cache-dir"}, what...),
	}
}

// runInstaller runs an installer in a process that the supervisor watches: nothing of it
// outlives the worker, which would go on writing into a directory that is somebody else's.
func runInstaller(ctx context.Context, opts Options, name, dir string, argv []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return dependencies(contracts.Quote(argv[0])+" cannot be run: "+contracts.Quote(err.Error()), "install it where bundle-worker runs").Because(err)
	}
	temporary := filepath.Join(dir, "tmp") // which goes with the directory, whoever is killed
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return unusable(dir, err)
	}
	defer func() { _ = runner.RemoveAll(temporary) }()
	process, err := opts.Supervisor.Start(runner.Spec{
		Path: program, Args: argv[1:], Env: append(installerEnviron(opts.Environ, dir), "TMPDIR="+temporary),
		Dir:     dir, // the bundle's own uv.toml and pip.conf are not the worker's configuration
		Scratch: dir,
	})
	if err != nil {
		return dependencies(name+" cannot be started: "+contracts.Quote(err.Error()), "").Because(err)
	}
	stop := context.AfterFunc(ctx, func() { process.Kill() })
	exit := process.Wait()
	if !stop() {
		return ctx.Err()
	}
	if failed := exit.Err(name); failed != nil {
		words := process.Output.Text()
		e := dependencies(fmt.Sprintf("the bundle's dependencies could not be installed: %s", lastError(words)), "the installer's own words are below; correct the dependencies and push again")
		e.StderrTail = words
		return e.Because(failed)
	}
	return nil
}

// lastError is the line of an installer's output that says what went wrong.
func lastError(words string) string {
	last := ""
	for line := range strings.Lines(words) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if strings.HasPrefix(line, "ERROR:") || strings.HasPrefix(line, "error:") || strings.HasPrefix(line, "×") {
			return contracts.Quote(line)
		}
		last = line
	}
	return contracts.Quote(last)
}

// installerEnviron is what installers need: their own settings, proxies and
// certificates, and Git's. Nothing of the registry, the storage or the cloud.
func installerEnviron(own []string, dir string) []string {
	environ := []string{"VIRTUAL_ENV=" + dir, "PYTHONDONTWRITEBYTECODE=1"}
	for _, variable := range own {
		name, _, _ := strings.Cut(variable, "=")
		switch upper := strings.ToUpper(name); {
		case strings.HasPrefix(upper, "PIP_"), strings.HasPrefix(upper, "UV_"), strings.HasPrefix(upper, "GIT_"),
			strings.HasPrefix(upper, "SSL_CERT_"), strings.HasSuffix(upper, "_PROXY"), strings.HasPrefix(upper, "LC_"):
			environ = append(environ, variable)
		default:
			switch name {
			case "PATH", "HOME", "LANG", "TZ", "SSH_AUTH_SOCK", "NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE":
				environ = append(environ, variable)
			}
		}
	}
	return environ
}
