//go:build unix

package cli

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/pyenv"
)

func sharedGCCommand() command {
	return command{
		name: "shared gc", usage: "say which Python environments that nodes share in a repository no bundle with a tag asks for any more, and delete them",
		args: []string{"REPOSITORY"}, example: "bundle-worker shared gc my-model --delete",
		flags: func(set *flag.FlagSet, f *flags) {
			set.BoolVar(&f.delete, "delete", false, "delete them; without this nothing is changed")
		},
		run: runSharedGC,
	}
}

type sharedGCAnswer struct {
	Repository   string             `json:"repository"`
	Environments []pyenv.SharedInfo `json:"environments"`
	Deleted      bool               `json:"deleted"` // those that are unused
}

func runSharedGC(ctx context.Context, p *program, args []string) error {
	c, err := p.config()
	if err != nil {
		return err
	}
	repository, err := p.repository(c, args[0])
	if err != nil {
		return err
	}
	infos, err := pyenv.Shared(ctx, repository)
	if err != nil {
		return err
	}
	word, unused := "would delete", 0
	if p.flags.delete {
		word = "deleted"
	}
	var text strings.Builder
	for _, info := range infos {
		what := "keep"
		if info.Unused {
			what, unused = word, unused+1
			if p.flags.delete {
				if err := pyenv.RemoveShared(ctx, repository, info); err != nil {
					return err
				}
			}
		}
		fmt.Fprintf(&text, "%-12s %.16s  Python %s, %d bytes: %s\n", what, info.Tag, info.Python, info.Bytes, info.Why)
	}
	if unused > 0 && !p.flags.delete {
		text.WriteString("nothing was changed; --delete does it\n")
	}
	return p.print(sharedGCAnswer{repository.Location.String(), infos, p.flags.delete}, text.String())
}
