package project

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/template"
)

// InitOptions say which project to make, and where.
type InitOptions struct {
	Name     string // the project's, checked here
	Dir      string // absolute; made when it is not there
	Template string
	Tag      string // the default tag; "" is [DefaultTag]
	Env      *contracts.BundleEnvironment
}

// InitResult is what was made.
type InitResult struct {
	Config  *contracts.ProjectConfig
	Pin     string
	Files   []string // that were written, below the directory
	Already bool     // it was this project before
}

// Init makes a project. It checks everything first, leaves nothing half-made when it
// fails, and changes no file that is there, so that it may be run again.
func Init(opts InitOptions) (*InitResult, error) {
	if err := contracts.ValidateRepository(opts.Name); err != nil {
		return nil, err
	}
	files, err := template.Files(opts.Template, opts.Name)
	if err != nil {
		return nil, err
	}
	if opts.Tag == "" {
		opts.Tag = DefaultTag
	}
	if err := contracts.ValidateTag(opts.Tag); err != nil {
		return nil, err
	}
	config, err := newConfig(opts.Name, opts.Tag, opts.Env)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(opts.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return initNew(opts, config, files)
	case err != nil:
		return nil, unreadable(opts.Dir, err)
	}
	return initHere(opts, config, files)
}

// initNew fills a directory under a temporary name beside the final one.
func initNew(opts InitOptions, config *contracts.ProjectConfig, files []template.File) (*InitResult, error) {
	parent := filepath.Dir(opts.Dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, Unwritable(parent, err)
	}
	staging, err := os.MkdirTemp(parent, "."+filepath.Base(opts.Dir)+".init-")
	if err != nil {
		return nil, Unwritable(opts.Dir, err)
	}
	defer os.RemoveAll(staging)
	if err := os.Chmod(staging, 0o755); err != nil {
		return nil, Unwritable(opts.Dir, err)
	}
	result, err := fill(staging, config, opts.Env.Environment, files)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(opts.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, Unwritable(opts.Dir, err)
	}
	if err := os.Rename(staging, opts.Dir); err != nil {
		return nil, Unwritable(opts.Dir, err)
	}
	return result, nil
}

// initHere makes a project of a directory that has files already.
func initHere(opts InitOptions, config *contracts.ProjectConfig, files []template.File) (*InitResult, error) {
	pin := opts.Env.Environment
	already := false
	if _, err := os.Stat(filepath.Join(opts.Dir, filepath.FromSlash(configFile))); err == nil {
		existing, err := Open(opts.Dir)
		if err != nil {
			return nil, err
		}
		if existing.Config.Project != "" && existing.Config.Project != opts.Name {
			return nil, &contracts.Error{
				Code: contracts.CodeConflict, Stage: contracts.StageProject,
				Message: contracts.Quote(opts.Dir) + " is the project " + existing.Config.Project + " already",
				Hint:    "copy it without its " + StateDir + " directory to make another project of it",
			}
		}
		already = existing.Config.Project != ""
		if existing.Config.Project == "" { // the Python suite's: state its name, keep the rest
			existing.Config.Project = opts.Name
		}
		config = existing.Config
		if existing.Pin != "" {
			pin = existing.Pin
		}
	}
	if hasModel(opts.Dir) {
		var err error
		if files, err = template.Shared(); err != nil {
			return nil, err
		}
	}
	result, err := fill(opts.Dir, config, pin, files)
	if err != nil {
		return nil, err
	}
	result.Already = already
	return result, nil
}

// hasModel says whether somebody has begun a model there, to which a template's must
// not be added.
func hasModel(dir string) bool {
	for _, name := range []string{"pyproject.toml", "wire.py", ".modelops/manifest.json", "requirements.txt"} {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			return true
		}
	}
	return false
}

// fill writes what is not there, the project's configuration last. On an error it takes
// away what it wrote.
func fill(dir string, config *contracts.ProjectConfig, pin string, files []template.File) (result *InitResult, err error) {
	result = &InitResult{Config: config, Pin: pin}
	defer func() {
		if err != nil {
			for _, name := range result.Files {
				_ = os.Remove(filepath.Join(dir, filepath.FromSlash(name)))
			}
		}
	}()
	data, err := config.Marshal()
	if err != nil {
		return nil, err
	}
	files = append(files[:len(files):len(files)],
		template.File{Path: pinFile, Data: []byte(pin + "\n")},
		template.File{Path: configFile, Data: data})
	for _, file := range files {
		written, err := create(dir, file)
		if err != nil {
			return nil, err
		}
		if written {
			result.Files = append(result.Files, file.Path)
		}
	}
	return result, completeConfig(dir, data)
}

// completeConfig rewrites a configuration that was there and is not the one wanted: the
// Python suite's, which lacks the name.
func completeConfig(dir string, data []byte) error {
	file := filepath.Join(dir, filepath.FromSlash(configFile))
	if now, err := os.ReadFile(file); err == nil && string(now) == string(data) {
		return nil
	}
	if err := atomicfile.Write(file, data, 0o644); err != nil {
		return Unwritable(file, err)
	}
	return nil
}

// create writes a file unless there is one.
func create(dir string, file template.File) (bool, error) {
	full := filepath.Join(dir, filepath.FromSlash(file.Path))
	if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(path.Dir(file.Path))), 0o755); err != nil {
		return false, Unwritable(full, err)
	}
	mode := fs.FileMode(0o644)
	if file.Executable {
		mode = 0o755
	}
	err := atomicfile.Create(full, file.Data, mode)
	switch {
	case errors.Is(err, fs.ErrExist) && path.Base(file.Path) == ".gitignore":
		return false, appendLines(full, file.Data)
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil:
		return false, Unwritable(full, err)
	}
	return true, nil
}

// appendLines adds to a .gitignore the lines about the project's state that it lacks.
func appendLines(file string, lines []byte) error {
	now, err := os.ReadFile(file)
	if err != nil {
		return unreadable(file, err)
	}
	text := string(now)
	for line := range strings.Lines(string(lines)) {
		if strings.Contains(line, StateDir) && !strings.Contains("\n"+text, "\n"+line) {
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			text += line
		}
	}
	if text == string(now) {
		return nil
	}
	if err := atomicfile.Write(file, []byte(text), 0o644); err != nil {
		return Unwritable(file, err)
	}
	return nil
}

func newConfig(name, tag string, env *contracts.BundleEnvironment) (*contracts.ProjectConfig, error) {
	config := &contracts.ProjectConfig{Project: name, DefaultTag: tag}
	config.Storage.Mode, config.Storage.ThresholdBytes = "oci-only", contracts.DefaultThreshold
	return config, Record(config, env)
}

// Adopt writes the configuration and pin of a project into a directory that holds its
// bundle's files: the end of a clone.
func Adopt(dir, name string, env *contracts.BundleEnvironment) (*Project, error) {
	config, err := newConfig(name, DefaultTag, env)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, StateDir), 0o755); err != nil {
		return nil, Unwritable(dir, err)
	}
	p := &Project{Dir: dir, Config: config, Pin: env.Environment}
	return p, p.write(env.Environment)
}
