package cli

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show what changed here and in the registry since the last push or pull",
		UsageText: `modelops-bundle status --offline`,
		Flags: []cli.Flag{
			envFlag(),
			&cli.BoolFlag{Name: "offline", Usage: "do not ask the registry"},
		},
		Action: runStatus,
	}
}

type statusAnswer struct {
	Project     string              `json:"project"`
	RegistryRef string              `json:"registry_ref"`
	Environment string              `json:"environment"`
	Tag         string              `json:"tag"`
	Files       int                 `json:"files"`
	Content     contracts.Digest    `json:"content_digest"`   // of what a push would push
	Base        contracts.Digest    `json:"base,omitempty"`   // what the tag pointed to at the last push or pull
	Remote      contracts.Digest    `json:"remote,omitempty"` // what it points to now
	Sync        string              `json:"sync"`
	Error       *contracts.Error    `json:"remote_error,omitempty"`
	Changes     []bundle.Difference `json:"changes"`
}

func runStatus(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	state, err := s.project.ReadState()
	if err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	defer root.Close()
	files, err := s.local(root, state, s.pushFormat())
	if err != nil {
		return err
	}
	tag := s.defaultTag()
	answer := statusAnswer{
		Project: s.repository.Name, RegistryRef: s.repository.Location.String(), Environment: s.env.Environment, Tag: tag,
		Files: len(files), Content: bundle.ContentDigest(files), Base: state.Bases[s.baseKey(tag)],
	}
	agreed, err := state.Agreed()
	if err != nil {
		return err
	}
	remote := agreed
	if !c.Bool("offline") {
		remote = s.remote(&answer, remote)
	}
	base, err := s.inFormat(root, state, agreed, remote.Format)
	if err != nil {
		return err
	}
	if remote.Format != s.pushFormat() {
		if files, err = s.local(root, state, remote.Format); err != nil {
			return err
		}
	}
	answer.Changes = append([]bundle.Difference{}, bundle.Compare(base, bundle.Identities(files), remote.Files)...)
	answer.Sync = answer.sync(c.Bool("offline"))
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "project %s: %s:%s (environment %s), %s\n%s\n", answer.Project, answer.RegistryRef, tag, answer.Environment, contracts.Count(answer.Files, "file", "files"), answer.Sync)
		for _, d := range answer.Changes {
			fmt.Fprintf(w, "  %-18s %s\n", d.Change, contracts.Lines(d.Path))
		}
	})
}

// remote is the files of the bundle that the tag points to now. What cannot be read is
// noted as such, and never taken for an absence.
func (s *session) remote(answer *statusAnswer, base project.Agreed) project.Agreed {
	digest, err := s.repository.Resolve(s.c.Context, answer.Tag)
	if err != nil && contracts.AsError(err).Code == contracts.CodeBundleNotFound {
		return project.Agreed{Format: base.Format}
	}
	if err == nil && digest == answer.Base {
		answer.Remote = digest
		return base
	}
	if err == nil {
		b, fetchErr := s.repository.Fetch(s.c.Context, digest)
		if fetchErr == nil {
			answer.Remote = digest
			return project.AgreedOn(b.Index)
		}
		err = fetchErr
	}
	answer.Error = contracts.AsError(err)
	return base
}

// sync is how the two sides stand, in a sentence.
func (a *statusAnswer) sync(offline bool) string {
	switch {
	case a.Error != nil:
		return "the registry could not be asked: " + a.Error.Message
	case offline:
		return "compared with the last push or pull"
	case a.Remote == "":
		return "never pushed"
	case len(a.Changes) == 0:
		return "up to date"
	case a.Base == "":
		return "the tag is there, and this project never pushed or pulled it"
	case a.Remote != a.Base:
		return "the tag moved since the last push or pull"
	default:
		return "changed here since the last push or pull"
	}
}
