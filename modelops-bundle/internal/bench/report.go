//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are the figures of every round, in the order in which steps were first seen.
type results struct {
	begun time.Time
	rows  []*row
}

type row struct {
	link, family, step, client string
	figures                    []figure
}

func (r *results) add(link, family, step, client string, f figure) {
	for _, have := range r.rows {
		if have.link == link && have.family == family && have.step == step && have.client == client {
			have.figures = append(have.figures, f)
			return
		}
	}
	r.rows = append(r.rows, &row{link, family, step, client, []figure{f}})
}

// median is that of each quantity by itself; a row with a failure has none.
func (r *row) median() (figure, bool) {
	for _, f := range r.figures {
		if f.failed != "" {
			return f, false
		}
	}
	return figure{
		wall:     time.Duration(middle(r.figures, func(f figure) int64 { return int64(f.wall) })),
		cpu:      time.Duration(middle(r.figures, func(f figure) int64 { return int64(f.cpu) })),
		memory:   middle(r.figures, func(f figure) int64 { return f.memory }),
		up:       middle(r.figures, func(f figure) int64 { return f.up }),
		down:     middle(r.figures, func(f figure) int64 { return f.down }),
		requests: int(middle(r.figures, func(f figure) int64 { return int64(f.requests) })),
	}, true
}

func middle(figures []figure, of func(figure) int64) int64 {
	values := make([]int64, len(figures))
	for i, f := range figures {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// best is the shortest time of a peer at a step.
func (r *results) best(link, step string) (time.Duration, string) {
	var shortest time.Duration
	var name string
	for _, row := range r.rows {
		if row.link != link || row.step != step || row.client == "modelops-bundle" || row.client == "bundle-worker" {
			continue
		}
		if f, ok := row.median(); ok && (name == "" || f.wall < shortest) {
			shortest, name = f.wall, row.client
		}
	}
	return shortest, name
}

func (r *results) find(link, step, client string) *row {
	for _, row := range r.rows {
		if row.link == link && row.step == step && row.client == client {
			return row
		}
	}
	return nil
}

func (r *results) page(o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nWritten by `make bench`: medians of interleaved rounds (loopback: %d, WAN: %d) on %s.\n", o.rounds, o.wan, r.begun.UTC().Format(time.DateOnly))
	fmt.Fprintf(&b, "%d cores, %s/%s, %s. The machine may have had other work: read ratios, and CPU before wall.\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	asked := "all"
	if len(o.workloads) > 0 {
		asked = strings.Join(o.workloads, ", ")
	}
	fmt.Fprintf(&b, "Measured in this run: %s, on %s.\n\n", asked, strings.Join(o.links, " and "))
	b.WriteString(method)
	for _, c := range clients() {
		if !slices.ContainsFunc(r.rows, func(have *row) bool { return have.client == c.name }) {
			continue
		}
		fmt.Fprintf(&b, "- **%s**: %s.\n", c.name, c.how)
	}
	fmt.Fprintf(&b, "\nVersions: %s.\n\n", strings.Join(versions(o), "; "))
	b.WriteString("## Targets\n\n| link | step | what | target | figure | |\n|---|---|---|---|---|---|\n")
	for _, t := range targets {
		b.WriteString(t.line(r))
	}
	r.tables(&b)
	return b.String()
}

func (r *results) tables(b *strings.Builder) {
	var done []string
	for _, first := range r.rows {
		key := first.link + ": " + first.step
		if first.client == "floor" || slices.Contains(done, key) {
			continue
		}
		done = append(done, key)
		fmt.Fprintf(b, "\n## %s\n\n| client | wall s | CPU s | memory MiB | sent kB | received kB | requests | of best peer | of floor |\n|---|---|---|---|---|---|---|---|---|\n", key)
		best, _ := r.best(first.link, first.step)
		low := r.floor(first.link, first.family, floorCopy)
		for _, row := range r.rows {
			if row.link != first.link || row.step != first.step {
				continue
			}
			f, ok := row.median()
			if !ok {
				fmt.Fprintf(b, "| %s | failed: %s |\n", row.client, strings.ReplaceAll(strings.ReplaceAll(f.failed, "\n", " "), "|", " "))
				continue
			}
			fmt.Fprintf(b, "| %s | %.3f | %.3f | %d | %.1f | %.1f | %d | %s | %s |\n", row.client, f.wall.Seconds(), f.cpu.Seconds(),
				f.memory>>20, float64(f.up)/1e3, float64(f.down)/1e3, f.requests, ratio(f.wall, best), ratio(f.wall, low))
		}
	}
}

// floor is the machine's own time for a family's base; 0 where it was not measured.
func (r *results) floor(link, family string, of floor) time.Duration {
	for _, row := range r.rows {
		if row.link == link && row.family == family && row.step == string(of) {
			f, _ := row.median()
			return f.wall
		}
	}
	return 0
}

func ratio(a, b time.Duration) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// versions are what the peers say they are.
func versions(o options) []string {
	out := []string{}
	for _, argv := range [][]string{{o.peers + "/oras", "version"}, {o.peers + "/crane", "version"}, {o.peers + "/regctl", "version"}, {"docker-registry", "--version"}} {
		text, err := exec.Command(argv[0], argv[1:]...).Output()
		if err == nil {
			line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
			out = append(out, strings.Join(strings.Fields(argv[0][strings.LastIndex(argv[0], "/")+1:]+" "+line), " "))
		}
	}
	return out
}

const method = `Every client has an empty registry (Debian's docker-registry, its files in memory), homes and
caches of its own in every round; pusher and puller share neither. A relay between client and
registry counts the bytes of TCP's payload, HTTP's headers included, and on the WAN (100 Mbit/s,
30 ms) delays them; over the loopback the kernel splices them. Requests are counted in the
registry's log. What was pulled is compared with what was pushed after each pull, outside the
time. CPU is user and system time of the client's processes; memory is that of the largest. The
floor is a loop that copies and hashes the same files; those of the targets read, hash and send
them to nobody in one stream over the loopback, and receive, hash and write them. Push edit and pull edit follow a push
and pull of the workload that was edited. W2 is measured against crane and oras with one tar, W3
against oras, and on the WAN W1 against oras and crane; with the others a run would take too
long. On the WAN, W3 and its edits have an eighth of their size, so that oras takes seconds for
an edit: of these, 0.02 is less than the edited MiB and TCP's handshake take. Where a target is
missed there, the link alone is what it takes for our bytes, the handshake and one request. kit
is missing: its Go module could not be had.

`
