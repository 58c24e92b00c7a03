//go:build unix

// Command bench measures how fast directories move through a registry: the suite's
// programs against other clients, interleaved, on the same registry in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/bench/workload"
)

type options struct {
	bin, peers, out string
	rounds, wan     int // rounds on the loopback, and on the WAN
	workloads       []string
	links           []string
	clients         string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "`DIR` of modelops-bundle and bundle-worker")
	flag.StringVar(&o.peers, "peers", ".cache/bench-peers", "`DIR` of the other clients")
	flag.StringVar(&o.out, "out", "", "write the page to `FILE`, too")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; figures are their medians")
	flag.IntVar(&o.wan, "wan-rounds", 1, "rounds on the WAN, where the link says how long it takes")
	links := flag.String("links", "loopback wan", "`LINKS` to measure on")
	flag.StringVar(&o.clients, "clients", "", "only the clients of these `NAMES`, comma-separated")
	flag.Parse()
	o.workloads, o.links = flag.Args(), strings.Fields(*links)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// family is a workload and its edits.
type family struct {
	base  string
	edits []string
}

var families = []family{{"W1", []string{"W4", "W4csv"}}, {"W2", []string{"W2b"}}, {"W3", []string{"W5", "W5ins"}}}

// chosen are the families of the workloads that were asked for: all, for none.
func chosen(names []string) ([]family, error) {
	var out []family
	known := map[string]bool{}
	for _, f := range families {
		known[f.base] = true
		pick := family{base: f.base}
		for _, e := range f.edits {
			known[e] = true
			if len(names) == 0 || slices.Contains(names, e) {
				pick.edits = append(pick.edits, e)
			}
		}
		if len(names) == 0 || slices.Contains(names, f.base) || len(pick.edits) > 0 {
			out = append(out, pick)
		}
	}
	for _, name := range names {
		if !known[name] {
			return nil, fmt.Errorf("there is no workload %q; there are W1, W4, W4csv, W2, W2b, W3, W5, W5ins", name)
		}
	}
	return out, nil
}

func bench(ctx context.Context, o options) error {
	picks, err := chosen(o.workloads)
	if err != nil {
		return err
	}
	for _, dir := range []*string{&o.bin, &o.peers} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	results := &results{begun: time.Now()}
	for _, name := range o.links {
		l, err := linkNamed(name)
		if err != nil {
			return err
		}
		for _, f := range picks {
			if err := measureFamily(ctx, dir, o, l, f, results); err != nil {
				return err
			}
		}
	}
	page := results.page(o)
	fmt.Print(page)
	if o.out != "" {
		return os.WriteFile(o.out, []byte(page), 0o644)
	}
	return nil
}

func linkNamed(name string) (link, error) {
	switch name {
	case "loopback":
		return link{name: name}, nil
	case "wan":
		return link{name: name, rate: 100e6 / 8, travel: 30 * time.Millisecond}, nil
	}
	return link{}, fmt.Errorf("there is no link %q; there are loopback and wan", name)
}

// measureFamily takes every client through the family in turn, round by round.
func measureFamily(ctx context.Context, dir string, o options, l link, f family, results *results) error {
	if l.rate > 0 && f.base == "W2" {
		return nil // not one of the targets' workloads on a slow link
	}
	eighth := l.rate > 0 && f.base == "W3"
	bases := filepath.Join(dir, "workload")
	defer os.RemoveAll(bases)
	var edits []string
	for _, name := range append([]string{f.base}, f.edits...) {
		if err := workload.Write(filepath.Join(bases, name), name, eighth); err != nil {
			return err
		}
	}
	for _, e := range f.edits {
		edits = append(edits, filepath.Join(bases, e))
	}
	base := filepath.Join(bases, f.base)
	rounds := o.rounds
	if l.rate > 0 {
		rounds = o.wan
	}
	for round := range rounds {
		low, err := floors(base, filepath.Join(dir, "floor"))
		if err != nil {
			return err
		}
		for name, figure := range low {
			results.add(l.name, f.base, string(name), "floor", figure)
		}
		for _, c := range clients() {
			if !takesPart(c, o, l, f) {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s %s, round %d of %d: %s\n", l.name, f.base, round+1, rounds, c.name)
			err := run(ctx, filepath.Join(dir, "station"), c, base, edits, l, [2]string{o.bin, o.peers}, func(step string, fig figure) {
				results.add(l.name, f.base, step, c.name, fig)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// takesPart says whether a client is measured: those that need many times as long as the
// best on many or large files are left out there, as the page says.
func takesPart(c client, o options, l link, f family) bool {
	if o.clients != "" && !slices.Contains(strings.Split(o.clients, ","), c.name) {
		return false
	}
	if c.ours {
		return true
	}
	if l.rate > 0 && f.base == "W1" {
		return c.name != "oras (one tar)" && c.name != "regctl"
	}
	switch f.base {
	case "W2":
		return c.name == "crane" || c.name == "oras (one tar)"
	case "W3":
		return c.name == "oras"
	}
	return true
}
