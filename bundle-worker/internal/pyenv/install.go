//go:build unix

package pyenv

import (
	"bytes"
	"context"
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
	// inside says that pip is put into the environment, because Python's own is missing or
	// cannot install elsewhere.
	inside bool
}

// chooseInstaller takes uv where there is one, and Python's own tools otherwise. A uv.lock
// says more than pip can read, so it is not ignored.
func chooseInstaller(base string, w *wants) (installer, error) {
	if uv, err := exec.LookPath("uv"); err == nil {
		return installer{name: "uv", path: uv}, nil
	}
	if w.source == lockFile {
		return installer{}, dependencies("the bundle's dependencies are locked in uv.lock, and this worker has no uv",
			"install uv where bundle-worker runs, or export the lock: uv export --format requirements-txt > requirements.txt, and leave uv.lock out")
	}
	const elsewhere = "import venv, pip, sys; sys.exit(tuple(int(n) for n in pip.__version__.split('.')[:2]) < (22, 3))"
	if exec.Command(base, "-I", "-B", "-c", elsewhere).Run() == nil {
		return installer{name: "pip"}, nil
	}
	if exec.Command(base, "-I", "-B", "-c", "import venv, ensurepip").Run() != nil {
		return installer{}, dependencies("the worker's Python has neither venv nor pip, and there is no uv",
			"install uv, or the packages python3-venv and python3-pip, where bundle-worker runs")
	}
	return installer{name: "pip", inside: true}, nil
}

// install fills dir, which is empty, with an environment.
func (t installer) install(ctx context.Context, plan buildPlan, dir string) error {
	for _, argv := range t.steps(plan, dir) {
		if err := plan.run(ctx, t.name, dir, installerEnviron(plan.Environ, dir), argv); err != nil {
			return err
		}
	}
	if err := moveable(dir); err != nil {
		return unusable(dir, err)
	}
	if err := forgetLogins(dir); err != nil {
		return unusable(dir, err)
	}
	// Its bytecode is made now, for good: the environment is read-only, and the times of
	// its files are not the same on each node. What does not compile is for the import to tell.
	_ = plan.run(ctx, t.name, dir, packageEnviron(plan.Environ), []string{filepath.Join(dir, "bin", "python"), "-I", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash", filepath.Join(dir, "lib")})
	return ctx.Err()
}

// steps are the commands of a build.
func (t installer) steps(plan buildPlan, dir string) [][]string {
	python := filepath.Join(dir, "bin", "python")
	w := plan.wants
	base := plan.python.Path
	var what []string
	switch w.source {
	case lockFile:
		return [][]string{
			{t.path, "venv", "--no-config", "--quiet", "--allow-existing", "--python", base, dir},
			{t.path, "sync", "--no-config", "--frozen", "--no-install-project", "--no-default-groups", "--active", "--no-cache", "--project", w.bundle},
		}
	case requirementsFile:
		what = []string{"-r", filepath.Join(w.bundle, requirementsFile)}
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
			{t.path, "venv", "--no-config", "--quiet", "--allow-existing", "--python", base, dir},
			append([]string{t.path, "pip", "install", "--no-config", "--no-cache", "--python", python}, what...),
		}
	}
	venv := []string{base, "-I", "-B", "-m", "venv", "--without-pip", dir}
	pip := []string{base, "-I", "-m", "pip", "--python", python}
	if t.inside {
		venv, pip = []string{base, "-I", "-B", "-m", "venv", dir}, []string{python, "-I", "-m", "pip"}
	}
	return [][]string{
		venv,
		append(append(pip, "install", "--no-input", "--no-compile", "--disable-pip-version-check", "--no-warn-script-location", "--no-cache-dir"), what...),
	}
}

// run runs a step of a build. It ends with this process, however that ends, and so does
// everything that it started.
func (p buildPlan) run(ctx context.Context, name, dir string, environ, argv []string) error {
	temp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return unusable(dir, err)
	}
	defer func() { _ = runner.RemoveAll(temp) }()
	process, err := p.Supervisor.Start(runner.Spec{
		Path: argv[0], Args: argv[1:], Env: environ,
		Dir:     temp, // the bundle's own uv.toml and pip.conf are not the worker's configuration
		Scratch: dir,
	})
	if err != nil {
		return dependencies("installer "+contracts.Quote(name)+" does not start: "+contracts.Quote(err.Error()), "install uv or Python's venv and pip where bundle-worker runs").Because(err)
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		process.Kill()
		return ctx.Err()
	}
	exit := process.Wait()
	if exit.Code == 0 && exit.Signal == 0 && !exit.Lost {
		return nil
	}
	return p.failed(name, exit, redact(process.Output.Text(), p.Environ))
}

// moveable makes the programs of an environment find its interpreter beside themselves:
// what is shared lies elsewhere on each node.
func moveable(dir string) error {
	bin := filepath.Join(dir, "bin")
	entries, err := os.ReadDir(bin)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		path := filepath.Join(bin, entry.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		first, rest, _ := bytes.Cut(data, []byte("\n"))
		if !bytes.HasPrefix(first, []byte("#!"+bin+"/python")) {
			// A path too long for the kernel makes a shell script of three lines.
			second, after, _ := bytes.Cut(rest, []byte("\n"))
			third, after, _ := bytes.Cut(after, []byte("\n"))
			if string(first) != "#!/bin/sh" || !bytes.Contains(second, []byte("exec' ")) || !bytes.Contains(second, []byte(bin)) || string(third) != "' '''" {
				continue
			}
			rest = after
		}
		if err := os.WriteFile(path, append([]byte(besideItself), rest...), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// besideItself is the beginning of a program in Python that the shell starts with the
// interpreter in the program's own directory.
const besideItself = "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")/python\" \"$0\" \"$@\"\n' '''\n"

// installerEnviron is what installers need: their own settings, proxies and
// certificates, and Git's. Nothing of the registry, the storage or the cloud.
func installerEnviron(own []string, dir string) []string {
	environ := []string{
		"VIRTUAL_ENV=" + dir, "PYTHONDONTWRITEBYTECODE=1",
		"TMPDIR=" + filepath.Join(dir, "tmp"), // what a killed installer leaves goes with the rest
	}
	for _, variable := range own {
		if name, _, _ := strings.Cut(variable, "="); installers(name) {
			environ = append(environ, variable)
		}
	}
	return append(withGit(environ), "UV_LINK_MODE=copy") // files of an environment are its own: another's changes must not be theirs
}

// packageEnviron is the environment of an interpreter that has a bundle's packages, whose
// code runs whenever it starts: that of a task.
func packageEnviron(own []string) []string { return runner.Environ(own, 1, nil) }

// installers says whether a variable of the worker's is for installers. What decides where
// packages go, which ones these are beside those that the bundle names, or for which
// interpreter, is not: installers would end well, and the environment be another one than
// its key says, on every node.
func installers(name string) bool {
	switch name {
	case "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_GROUP",
		"UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PYTHON_PREFERENCE", "UV_MANAGED_PYTHON", "UV_NO_MANAGED_PYTHON", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT",
		"UV_WORKING_DIR", "UV_WORKING_DIRECTORY", "UV_DRY_RUN", "UV_NO_GROUP", "UV_NO_DEFAULT_GROUPS", "UV_VENV_SEED", "UV_LINK_MODE":
		return false
	case "PATH", "HOME", "LANG", "TZ", "SSH_AUTH_SOCK", "NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", gitHubToken:
		return true
	}
	upper := strings.ToUpper(name)
	if strings.HasPrefix(upper, "UV_PUBLISH_") {
		return false
	}
	for _, prefix := range []string{"PIP_", "UV_", "GIT_", "SSL_CERT_", "LC_"} {
		if strings.HasPrefix(upper, prefix) {
			return true
		}
	}
	return strings.HasSuffix(upper, "_PROXY")
}
