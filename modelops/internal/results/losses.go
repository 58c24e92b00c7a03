package results

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/table"
)

// lossesName is the name of the table of losses. In a job with targets it is taken: an
// output of that name gets another file.
const lossesName = "losses"

// Losses is the table of losses that was written: a row for each parameter set and
// target.
type Losses struct {
	Path    string   `json:"path"` // as of [Table]
	Rows    int64    `json:"rows"`
	Parts   []string `json:"parts"`
	Missing int      `json:"missing"` // parameter sets and targets that have no loss
}

// losses writes the table of losses, in the study's order of parameter sets and targets.
func (w *writers) losses(ctx context.Context, answer *Tables) error {
	if len(w.data.study.Targets) == 0 {
		return nil
	}
	further := map[string]bool{}
	answer.Losses = &Losses{}
	for e, err := range w.data.Evaluations(ctx) {
		if err != nil {
			return err
		}
		w.progress(1)
		if e.Result == nil {
			answer.Losses.Missing++
			continue
		}
		for name := range e.Result.Evaluation.Diagnostics {
			further[name] = true
		}
	}
	diagnostics := slices.Sorted(maps.Keys(further))
	t, err := w.newTable(lossesName, lossesName, w.survey.lossFields(diagnostics))
	if err != nil {
		return err
	}
	w.lossTable = t
	for e, err := range w.data.Evaluations(ctx) {
		if err == nil && e.Result != nil {
			err = t.row(w.lossCells(e, diagnostics))
		}
		if err != nil {
			return err
		}
		w.progress(1)
	}
	answer.Losses.Rows = t.rows
	if missing := answer.Losses.Missing; missing > 0 {
		answer.Warnings = append(answer.Warnings, fmt.Sprintf("%d of %s of targets without a loss, not in %s: a replicate failed or did not run, or the target failed",
			missing, contracts.Count(missing+int(t.rows), "evaluation", "evaluations"), filepath.Base(t.path)))
	}
	return nil
}

// lossFields are the columns of the table of losses. A parameter that is called like one
// of the others gets param_, and a diagnostic that is called like anything before it
// diagnostic_.
func (s *survey) lossFields(diagnostics []string) []field {
	before := append(fixedBefore(), field{"set", table.TypeInt64}, field{"target", table.TypeString}, field{"loss", table.TypeFloat64})
	after := []field{{"n_replicates", table.TypeInt64}, {"bundle", table.TypeString}, {"content_digest", table.TypeString},
		{"environment_digest", table.TypeString}, {"task", table.TypeString}}
	taken := map[string]bool{}
	for _, f := range append(slices.Clone(before), after...) {
		taken[f.name] = true
	}
	free := func(name, prefix string) string {
		for taken[name] {
			name = prefix + name
		}
		taken[name] = true
		return name
	}
	list := []field{before[0]}
	for _, name := range s.paramNames() {
		list = append(list, field{free(name, "param_"), s.params[name].Type()})
	}
	list = append(list, before[1:]...)
	for _, name := range diagnostics {
		list = append(list, field{free(name, "diagnostic_"), table.TypeFloat64})
	}
	return append(list, after...)
}

// lossCells is a row of the table of losses.
func (w *writers) lossCells(e Evaluation, diagnostics []string) []table.Cell {
	first, answer := &e.Set.Tasks[0], e.Result.Evaluation
	cells := append(w.survey.paramCells(first), table.IntCell(int64(first.Set)), table.TextCell(e.Target), table.FloatCell(answer.Loss))
	for _, name := range diagnostics {
		cell := table.Cell{Kind: table.Null}
		if value, there := answer.Diagnostics[name]; there {
			cell = table.FloatCell(value)
		}
		cells = append(cells, cell)
	}
	return append(cells, table.IntCell(int64(answer.Replicates)), table.TextCell(w.Job.Bundle.String()),
		table.TextCell(w.Job.Content.String()), environmentCell(e.Result), table.TextCell(e.Result.TaskID))
}
