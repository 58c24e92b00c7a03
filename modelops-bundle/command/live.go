package command

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/modelops-suite/modelops-go/contracts"
)

// liveKey is the key of the line that changes in [cli.App.Metadata].
const liveKey = "command.live"

// Live is a line on stderr that changes while something is at work. It is shown on a
// terminal, to people: not with --json, --quiet or --log-format json. What is said
// meanwhile stands above it.
type Live struct {
	on bool
	w  io.Writer

	mu   sync.Mutex
	line string // on the screen; empty for none
}

// NewLive is a line that is not shown yet.
func NewLive(c *cli.Context) *Live {
	env := EnvOf(c)
	l := &Live{on: env.Terminal && !JSON(c) && !c.Bool(flagQuiet) && c.String(flagLogFormat) != "json", w: env.Stderr}
	if l.on {
		c.App.Metadata[liveKey] = l
	}
	return l
}

// On says whether the line is shown at all.
func (l *Live) On() bool { return l.on }

// Show replaces the line.
func (l *Live) Show(line string) {
	line = fit(contracts.Lines(line), l.width())
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on || line == l.line {
		return
	}
	l.line = line
	_, _ = io.WriteString(l.w, "\r\x1b[K"+line)
}

// Clear takes the line away.
func (l *Live) Clear() { l.end("\r\x1b[K") }

// End leaves the line, and lets what comes next begin below it.
func (l *Live) End() { l.end("\n") }

func (l *Live) end(with string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line != "" {
		l.line = ""
		_, _ = io.WriteString(l.w, with)
	}
}

// aside writes something above the line.
func (l *Live) aside(write func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line != "" {
		_, _ = io.WriteString(l.w, "\r\x1b[K")
	}
	write()
	if l.line != "" {
		_, _ = io.WriteString(l.w, l.line)
	}
}

func (l *Live) width() int {
	if f, ok := l.w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 1 {
			return columns - 1
		}
	}
	return 79
}

// fit cuts a line that would not be one on the screen.
func fit(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width {
		return line
	}
	return string(runes[:max(0, width-1)]) + "…"
}

// Size is n bytes for people.
func Size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v := float64(n)
	for v >= 1024 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[0])
}
