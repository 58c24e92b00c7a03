// Package template holds what init puts into a new project.
package template

import (
	"embed"
	"io/fs"
	"path"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

//go:embed all:files
var files embed.FS

// Default is the template of a project that asks for none.
const Default = "calabaria"

// Names are the templates that there are.
func Names() []string { return []string{"calabaria", "minimal", "command"} }

// File is a file of a template.
type File struct {
	Path       string // slash-separated, below the project's directory
	Data       []byte
	Executable bool
}

// Files are the files of a template for a project of this name, and those that every
// project gets. There is a [contracts.Error] of [contracts.CodeUsage] when there is no such
// template.
func Files(name, project string) ([]File, error) {
	if _, err := fs.Stat(files, path.Join("files", name)); err != nil || name == "" || strings.Contains(name, "/") || name == "shared" {
		return nil, &contracts.Error{
			Code: contracts.CodeUsage, Stage: contracts.StageProject,
			Message: "there is no template " + contracts.Quote(name),
			Hint:    "the templates are " + strings.Join(Names(), ", "),
		}
	}
	own, err := read(name, project)
	if err != nil {
		return nil, err
	}
	shared, err := Shared()
	return append(own, shared...), err
}

// Shared are the files that every project gets: its .gitignore and .modelopsignore.
func Shared() ([]File, error) { return read("shared", "") }

func read(name, project string) ([]File, error) {
	dir := path.Join("files", name)
	fill := strings.NewReplacer("{{project}}", project, "{{package}}", strings.ReplaceAll(project, "/", "-"))
	var all []File
	err := fs.WalkDir(files, dir, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		all = append(all, File{
			Path:       strings.TrimPrefix(p, dir+"/"),
			Data:       []byte(fill.Replace(string(data))),
			Executable: strings.HasSuffix(p, ".sh"),
		})
		return nil
	})
	return all, err
}
