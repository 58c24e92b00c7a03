//go:build unix

package main

import (
	"fmt"
	"strings"
	"time"
)

// target is what modelops-bundle is to reach at a step; 0 is no target, but for bytes and
// requests with none.
type target struct {
	step          string
	loopback, wan float64 // of the best peer's time
	bytes         int64   // in both directions
	requests      int
	none          bool    // not one byte and not one request
	floor         float64 // of the floor's time, on the loopback
}

var targets = []target{
	{step: "W1 push cold", loopback: 1.5, wan: 0.7, bytes: 27e6, requests: 45},
	{step: "W1 pull cold", loopback: 1.2, wan: 1.0, bytes: 27e6, requests: 25},
	{step: "W1 push again", loopback: 0.2, wan: 0.5, bytes: 10e3, requests: 2},
	{step: "W4 push edit", loopback: 0.5, wan: 0.5, bytes: 1e6, requests: 12},
	{step: "W4 pull edit", loopback: 0.5, wan: 0.5, bytes: 1e6, requests: 12},
	{step: "W4csv push edit", loopback: 0.5, wan: 0.1, bytes: 4e6, requests: 12},
	{step: "W4csv pull edit", loopback: 0.3, wan: 0.1, bytes: 4e6, requests: 12},
	{step: "W1 pull warm", loopback: 0.1, wan: 0.1, none: true},
	{step: "W2 push cold", loopback: 1.1, wan: 0.7, bytes: 34e6, requests: 300},
	{step: "W2 pull cold", loopback: 0.6, wan: 1.0, bytes: 34e6, requests: 120},
	{step: "W2 push again", loopback: 0.15, wan: 0.15, bytes: 1.5e6, requests: 12},
	{step: "W2b push edit", loopback: 0.15, wan: 0.15, bytes: 1.5e6, requests: 12},
	{step: "W2b pull edit", loopback: 0.15, wan: 0.15, bytes: 1.5e6, requests: 12},
	{step: "W2 pull warm", loopback: 0.05, wan: 0.05, none: true},
	{step: "W3 push cold", loopback: 1.0, wan: 1.0, bytes: 2169e6, requests: 1200, floor: 1.5},
	{step: "W3 pull cold", loopback: 1.0, wan: 1.0, bytes: 2169e6, requests: 600, floor: 1.5},
	{step: "W5 push edit", loopback: 0.3, wan: 0.02, bytes: 16e6, requests: 20},
	{step: "W5 pull edit", loopback: 0.7, wan: 0.02, bytes: 16e6, requests: 20},
	{step: "W5ins push edit", loopback: 0.3, wan: 0.02, bytes: 16e6, requests: 20},
	{step: "W5ins pull edit", loopback: 0.7, wan: 0.02, bytes: 16e6, requests: 20},
}

// memoryTarget is the most that modelops-bundle may need, whatever the size.
const memoryTarget = 128 << 20

// line is the target's rows of the table, for the links that were measured.
func (t target) line(r *results) string {
	out := ""
	for _, link := range []string{"loopback", "wan"} {
		row := r.find(link, t.step, "modelops-bundle")
		if row == nil {
			if link == "loopback" || !strings.HasPrefix(t.step, "W2") {
				out += fmt.Sprintf("| %s | %s | | | | not measured in this run |\n", link, t.step)
			}
			continue
		}
		f, ok := row.median()
		if !ok {
			out += fmt.Sprintf("| %s | %s | | | failed | missed |\n", link, t.step)
			continue
		}
		add := func(what, want, got string, met bool) {
			verdict := "**missed**"
			if met {
				verdict = "met"
			}
			out += fmt.Sprintf("| %s | %s | %s | ≤ %s | %s | %s |\n", link, t.step, what, want, got, verdict)
		}
		limit := t.loopback
		if link == "wan" {
			limit = t.wan
		}
		if best, name := r.best(link, t.step); name != "" {
			is := float64(f.wall) / float64(best)
			figure := fmt.Sprintf("%.2f", is)
			if least := leastTime(link, f); is > limit && least > 0 {
				figure += fmt.Sprintf("; the link alone: %.2f", float64(least)/float64(best))
			}
			add("time, of "+name+"'s", fmt.Sprint(limit), figure, is <= limit)
		}
		of := floorPull
		if strings.Contains(t.step, " push ") {
			of = floorPush
		}
		if low := r.floor(link, row.family, of); t.floor > 0 && low > 0 && link == "loopback" {
			is := float64(f.wall) / float64(low)
			add("time, of the machine's to "+string(of), fmt.Sprint(t.floor), fmt.Sprintf("%.2f", is), is <= t.floor)
		}
		if t.bytes > 0 || t.none {
			add("bytes", fmt.Sprint(t.bytes), fmt.Sprint(f.up+f.down), f.up+f.down <= t.bytes)
			add("requests", fmt.Sprint(t.requests), fmt.Sprint(f.requests), f.requests <= t.requests)
		}
		add("memory, MiB", "128", fmt.Sprint(f.memory>>20), f.memory <= memoryTarget)
	}
	return out
}

// leastTime is what a slow link itself takes for the bytes, TCP's handshake and one
// request; 0 for the loopback.
func leastTime(name string, f figure) time.Duration {
	l, err := linkNamed(name)
	if err != nil || l.rate == 0 {
		return 0
	}
	return time.Duration(float64(max(f.up, f.down))/l.rate*float64(time.Second)) + 2*l.travel
}
