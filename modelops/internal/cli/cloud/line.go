package cloud

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// resourceLines show what happens to resources: a line for each that is done, and on a
// terminal below it, what is going on.
type resourceLines struct {
	c       *cli.Context
	live    *command.Live
	running []string
}

func newResourceLines(c *cli.Context) *resourceLines {
	return &resourceLines{c: c, live: command.NewLive(c)}
}

func (p *resourceLines) show(e engine.Event) {
	doing, done, ok := words(e.Op)
	if !ok {
		return
	}
	current := doing + " " + e.Name
	switch e.Phase {
	case engine.Started:
		p.running = append(p.running, current)
	case engine.Done:
		p.drop(current)
		changed := ""
		if len(e.Keys) > 0 {
			changed = " (" + strings.Join(e.Keys, ", ") + ")"
		}
		command.Note(p.c, "%s %s%s%s", done, e.Name, changed, after(e.Duration))
	case engine.Failed:
		p.drop(current)
		command.Note(p.c, "%s failed%s", current, after(e.Duration))
	}
	if len(p.running) > 0 {
		p.live.Show(strings.Join(p.running, ", ") + " …")
	} else {
		p.live.Clear()
	}
}

func (p *resourceLines) drop(current string) {
	for i, name := range p.running {
		if name == current {
			p.running = append(p.running[:i], p.running[i+1:]...)
			return
		}
	}
}

// words are those for an operation; ok is false for one that changes nothing.
func words(op engine.Op) (doing, done string, ok bool) {
	switch op {
	case engine.Create:
		return "creating", "created", true
	case engine.Update:
		return "updating", "updated", true
	case engine.Delete:
		return "deleting", "deleted", true
	case engine.Replace:
		return "replacing", "replaced", true
	}
	return "", "", false
}

// after is a duration that is worth saying.
func after(d time.Duration) string {
	if d < time.Second {
		return ""
	}
	return " in " + d.Round(time.Second).String()
}
