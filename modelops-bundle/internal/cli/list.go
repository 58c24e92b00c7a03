package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/registration"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the registered models, targets and target sets",
		UsageText: `modelops-bundle list`,
		Action:    runList,
	}
}

func runList(c *cli.Context) error {
	l, err := openListing(c, false)
	if err != nil {
		return err
	}
	defer l.root.Close()
	r, err := registration.Read(l.root)
	if err != nil {
		return err
	}
	if r.Empty() {
		return &contracts.Error{
			Code: contracts.CodeNotFound, Stage: contracts.StageProject,
			Message: "nothing is registered in " + bundle.RegistryFile, Hint: "run: modelops-bundle register-model FILE",
		}
	}
	return command.Print(c, r, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		defer t.Flush()
		for _, id := range slices.Sorted(maps.Keys(r.Models)) {
			m := r.Models[id]
			fmt.Fprintf(t, "model\t%s\t%s\toutputs: %s\tfiles: %d\n", id, m.Entrypoint, strings.Join(m.Outputs, ", "), 1+len(m.Data)+len(m.Code))
		}
		for _, id := range slices.Sorted(maps.Keys(r.Targets)) {
			fmt.Fprintf(t, "target\t%s\t%s\toutput: %s\tfiles: %d\n", id, r.Targets[id].Entrypoint, r.Targets[id].Output, 1+len(r.Targets[id].Data))
		}
		for _, name := range slices.Sorted(maps.Keys(r.Sets)) {
			fmt.Fprintf(t, "target set\t%s\t%s\n", name, weighted(r.Sets[name]))
		}
	})
}

// weighted is a set's targets, with the weights that are not 1.
func weighted(s *registration.Set) string {
	var parts []string
	for _, id := range s.Targets {
		if w, ok := s.Weights[id]; ok {
			id = fmt.Sprintf("%s=%g", id, w)
		}
		parts = append(parts, id)
	}
	return strings.Join(parts, ", ")
}
