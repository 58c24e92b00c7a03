package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

type logLine struct {
	Line string `json:"line"`
}

// keptPoll is how often a log that is copied from elsewhere is looked at.
const keptPoll = 2 * time.Second

// printLog writes a log as it is, or with --json a document per line; with --follow
// until the job has ended and its driver has said its last word. That of a pod is read
// from there while it lives, and from the copy in the storage before and after.
func (l *located) printLog(c *cli.Context) error {
	pod := &podLog{drivers: l.lookout.Drivers, follow: c.Bool("follow"), both: twice{}, read: map[string]int{}}
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	ended := false // when the log was last read
	for offset := int64(0); ; {
		status, err := l.status(c)
		if err != nil {
			return err
		}
		elsewhere := l.elsewhere(status)
		over := status.State.Ended() || status.Lost()
		if alive, _ := l.local.Alive(l.job.ID, ""); alive && !elsewhere {
			over = false
		}
		pod.open(ctx, status.Cluster)
		data, err := l.readLog(c.Context, elsewhere, offset)
		switch {
		case errors.Is(err, blobstore.ErrNotFound) && (c.Bool("follow") && !over || pod.lines != nil): // not copied yet
		case errors.Is(err, blobstore.ErrNotFound):
			return l.noLog(status)
		case err != nil:
			return err
		}
		if !over { // a line that is being written
			data = data[:bytes.LastIndexByte(data, '\n')+1]
		}
		offset += int64(len(data))
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSuffix(line, "\n"); pod.both.stored(line) {
				if err := printLine(c, line); err != nil {
					return err
				}
			}
		}
		wait := pollTime
		if elsewhere {
			wait = keptPoll
		}
		if !c.Bool("follow") {
			return pod.print(c, nil)
		}
		// What is copied comes a moment after the job's end.
		if over && (!elsewhere || ended && len(data) == 0) {
			return nil
		}
		ended = over
		if err := pod.print(c, time.After(wait)); err != nil {
			return err
		}
	}
}

func printLine(c *cli.Context, line string) error {
	return command.Print(c, logLine{line}, func(w io.Writer) { fmt.Fprintln(w, contracts.Lines(line)) })
}

// noLog is the error for a job that has none yet.
func (l *located) noLog(s *jobs.Status) error {
	e := &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageRun,
		Message: "the log of job " + l.job.ID + " is not here yet", Hint: "its driver copies it every few seconds; mops jobs status " + l.job.ID + " says where it runs"}
	if s.Cluster != nil && s.Cluster.Words != "" {
		e.Message += ": " + s.Cluster.Words
	}
	return e
}

// podLog is the log of a driver's pod. The driver copies it to the storage, where those of
// earlier pods are, too: a line that both have is written once.
type podLog struct {
	drivers jobs.Drivers // nil: there are no pods
	follow  bool
	lines   chan string    // of the pod that is being read; nil when none is
	pod     string         // its name
	read    map[string]int // how many lines were read of each pod
	both    twice
}

// open begins to read the pod that was sighted, unless one is being read. A pod that
// cannot be read has not begun, or is gone: then the storage has what there is.
func (p *podLog) open(ctx context.Context, g *jobs.Sighting) {
	if p.drivers == nil || p.lines != nil || g == nil || g.Pod == "" {
		return
	}
	log, err := p.drivers.Log(ctx, g.Pod, p.follow)
	if err != nil {
		return
	}
	p.pod, p.lines = g.Pod, make(chan string)
	go scan(ctx, log, p.read[p.pod], p.lines)
}

// scan sends the lines of a log but the first ones, which were read before.
func scan(ctx context.Context, log io.ReadCloser, skip int, lines chan<- string) {
	defer close(lines)
	defer func() { _ = log.Close() }()
	r := bufio.NewReader(log)
	for n := 0; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil { // half a line: the whole one comes from the storage
			return
		}
		if n < skip {
			continue
		}
		select {
		case lines <- strings.TrimSuffix(line, "\n"):
		case <-ctx.Done():
			return
		}
	}
}

// twice is what came from two places that have the same lines, each in its own time: how
// often a line came from pods, less how often from the storage.
type twice map[string]int

// stored takes in a line of the storage, and says whether it is new.
func (t twice) stored(line string) bool {
	n := t[line]
	t[line] = n - 1
	return n <= 0
}

// wrote takes in a line of a pod, and says whether it is new.
func (t twice) wrote(line string) bool {
	n := t[line]
	t[line] = n + 1
	return n >= 0
}

// print writes the pod's lines that are new, until due, or its end when that is nil.
func (p *podLog) print(c *cli.Context, due <-chan time.Time) error {
	for due != nil || p.lines != nil {
		select {
		case line, more := <-p.lines:
			if !more {
				p.lines = nil
				continue
			}
			p.read[p.pod]++
			if !p.both.wrote(line) {
				continue
			}
			if err := printLine(c, line); err != nil {
				return err
			}
		case <-due:
			return nil
		case <-c.Context.Done():
			return c.Context.Err()
		}
	}
	return nil
}
