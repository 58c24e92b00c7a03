package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// Op is what is done to a resource.
type Op string

// The operations. Replacing one deletes it and creates it anew.
const (
	Create  Op = "create"
	Update  Op = "update"
	Delete  Op = "delete"
	Replace Op = "replace"
	Read    Op = "read"
	Refresh Op = "refresh"
)

// Phase is how far an operation is.
type Phase string

// The phases.
const (
	Started Phase = "started"
	Done    Phase = "done"
	Failed  Phase = "failed"
)

// Change is one operation on one resource.
type Change struct {
	URN      string
	Name     string // the program's for it
	Type     string // such as azure-native:storage:StorageAccount
	ID       string // the provider's, when it has one
	Op       Op
	Keys     []string // of an update or a replacement: the properties that differ
	Duration time.Duration
}

// Event is a change that goes on.
type Event struct {
	Change
	Phase   Phase
	Message string // of a failure: the provider's words
}

// Failure is a resource that could not be made, changed or deleted.
type Failure struct {
	Change
	Message string // the provider's words
}

// Error is "create registry (azure-native:containerregistry:Registry): …".
func (f *Failure) Error() string {
	if f.Name == "" {
		return f.Message
	}
	if f.Op == "" {
		return fmt.Sprintf("%s (%s): %s", f.Name, f.Type, f.Message)
	}
	return fmt.Sprintf("%s %s (%s): %s", f.Op, f.Name, f.Type, f.Message)
}

// watcher turns the engine's events into changes and failures.
type watcher struct {
	events   chan events.EngineEvent
	stop     chan struct{}
	stopped  chan struct{}
	progress func(Event)
	secret   redactor

	begun    map[string]time.Time
	changes  []Change
	failed   map[string]Change // by URN
	unmade   map[string]*apitype.StepEventStateMetadata
	failures []*Failure
}

func watch(progress func(Event), secret redactor) *watcher {
	w := &watcher{events: make(chan events.EngineEvent, 64), stop: make(chan struct{}), stopped: make(chan struct{}),
		progress: progress, secret: secret, begun: map[string]time.Time{}, failed: map[string]Change{}, unmade: map[string]*apitype.StepEventStateMetadata{}}
	go w.run()
	return w
}

func (w *watcher) run() {
	defer close(w.stopped)
	for {
		select {
		case ev, open := <-w.events:
			if !open {
				w.events = nil // never ready again; stop ends this
				continue
			}
			w.see(ev.EngineEvent)
		case <-w.stop: // an engine that died early never closes its events
			for {
				select {
				case ev, open := <-w.events:
					if !open {
						return
					}
					w.see(ev.EngineEvent)
				default:
					return
				}
			}
		}
	}
}

// close waits until all events of an operation that has ended are seen.
func (w *watcher) close() {
	close(w.stop)
	<-w.stopped
	for _, f := range w.failures {
		if c, ok := w.failed[f.URN]; ok {
			f.Change = c
		}
	}
}

func (w *watcher) see(ev apitype.EngineEvent) {
	switch {
	case ev.ResourcePreEvent != nil:
		if c, ok := changeOf(ev.ResourcePreEvent.Metadata); ok {
			w.begun[key(c)] = time.Now()
			w.progress(Event{Change: c, Phase: Started})
		}
	case ev.ResOutputsEvent != nil:
		if c, ok := changeOf(ev.ResOutputsEvent.Metadata); ok {
			c.Duration = w.since(c)
			w.changes = append(w.changes, c)
			w.progress(Event{Change: c, Phase: Done})
		}
	case ev.ResOpFailedEvent != nil:
		if c, ok := changeOf(ev.ResOpFailedEvent.Metadata); ok {
			c.Duration = w.since(c)
			w.failed[c.URN] = c
			if c.Op == Create {
				w.unmade[c.URN] = ev.ResOpFailedEvent.Metadata.New
			}
			w.progress(Event{Change: c, Phase: Failed, Message: w.messageOf(c.URN)})
		}
	case ev.DiagnosticEvent != nil:
		w.diagnose(ev.DiagnosticEvent)
	case ev.ErrorEvent != nil:
		w.failures = append(w.failures, &Failure{Message: w.secret.text(ev.ErrorEvent.Error)})
	}
}

func (w *watcher) diagnose(d *apitype.DiagnosticEvent) {
	if d.Severity != "error" || d.Ephemeral {
		return
	}
	message := strings.TrimSpace(w.secret.text(plain(d.Message)))
	f := &Failure{Message: message}
	if d.URN != "" {
		f.URN, f.Name, f.Type = d.URN, urnName(d.URN), urnType(d.URN)
	}
	if message != "" {
		w.failures = append(w.failures, f)
	}
}

// messageOf is what was said about a resource so far.
func (w *watcher) messageOf(urn string) string {
	for _, f := range w.failures {
		if f.URN == urn {
			return f.Message
		}
	}
	return ""
}

// lost are the creations whose provider went away: nobody knows how they ended.
func (w *watcher) lost() []operation {
	var lost []operation
	for _, f := range w.failures {
		gone := strings.Contains(f.Message, "error reading from server") || strings.Contains(f.Message, "transport is closing") ||
			strings.Contains(f.Message, "connection refused")
		if state := w.unmade[f.URN]; gone && state != nil {
			lost = append(lost, creation(state))
			delete(w.unmade, f.URN)
		}
	}
	return lost
}

func (w *watcher) since(c Change) time.Duration {
	if begun, ok := w.begun[key(c)]; ok {
		return time.Since(begun)
	}
	return 0
}

// changeOf is what an event of a step says; ok is false for what is no resource of a
// cloud, and for what stays the same.
func changeOf(m apitype.StepEventMetadata) (c Change, ok bool) {
	if isEngines(m.Type) || m.Logical && m.Op == apitype.OpReplace {
		return c, false
	}
	c = Change{URN: m.URN, Name: urnName(m.URN), Type: m.Type, Keys: m.Diffs}
	for _, state := range []*apitype.StepEventStateMetadata{m.Old, m.New} {
		if state != nil && !state.Custom {
			return c, false
		}
		if state != nil && state.ID != "" {
			c.ID = state.ID
		}
	}
	switch m.Op {
	case apitype.OpCreate, apitype.OpImport:
		c.Op = Create
	case apitype.OpUpdate:
		c.Op = Update
	case apitype.OpDelete, apitype.OpDeleteReplaced, apitype.OpDiscardReplaced:
		c.Op = Delete
	case apitype.OpCreateReplacement, apitype.OpImportReplacement:
		c.Op = Replace
	case apitype.OpRead, apitype.OpReadReplacement:
		c.Op = Read
	case apitype.OpRefresh:
		c.Op = Refresh
	default:
		return c, false
	}
	return c, true
}

// stackType is the type of the resource that all others of a stack are below.
const stackType = "pulumi:pulumi:Stack"

// providerType is the type of the provider that serves a type.
func providerType(typ string) string {
	packageName, _, _ := strings.Cut(typ, ":")
	return "pulumi:providers:" + packageName
}

// isEngines says whether a type is of the engine's own bookkeeping.
func isEngines(typ string) bool {
	return typ == "pulumi:pulumi:Stack" || strings.HasPrefix(typ, "pulumi:providers:")
}

func key(c Change) string { return string(c.Op) + " " + c.URN }
