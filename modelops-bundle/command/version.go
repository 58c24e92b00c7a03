package command

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/urfave/cli/v2"
)

// Build says which build of a program this is. It is the document of --version --json.
type Build struct {
	Name     string `json:"name"`
	Version  string `json:"version"`          // of the program's module; "(devel)" outside a released or committed tree
	Commit   string `json:"commit,omitempty"` // with "+dirty" when files had changed
	Contract string `json:"contract"`         // the version of the contract between the programs
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// BuildOf describes the running program, from what the Go tool recorded in it.
func BuildOf(name string) Build {
	b := Build{
		Name:     name,
		Version:  "(devel)",
		Contract: contracts.ContractVersion,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	dirty := ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			b.Commit = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "+dirty"
		}
	}
	if b.Commit != "" {
		b.Commit += dirty
	}
	return b
}

func printVersion(c *cli.Context) error {
	build := BuildOf(c.App.Name)
	return Print(c, build, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s (contract %s, %s, %s)\n", build.Name, build.Version, build.Contract, build.Go, build.Platform)
	})
}
