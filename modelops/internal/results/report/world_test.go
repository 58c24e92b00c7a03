package report

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// world is a storage with one job that a driver has.
type world struct {
	t       *testing.T
	catalog *jobs.Catalog
	job     *jobs.Job
	study   *contracts.SimulationStudy
	clock   time.Time
	begun   jobs.Transition
}

func newWorld(t *testing.T, study string) *world {
	t.Helper()
	store, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, clock: time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)}
	w.catalog = jobs.Open(store, func() time.Time { return w.clock })
	if w.study, err = contracts.ParseStudy("study.json", []byte(study)); err != nil {
		t.Fatal(err)
	}
	w.job = &jobs.Job{
		ID: "job-00000001", Bundle: contracts.BundleRef{Repository: "team/seir", Digest: contracts.DigestOf([]byte("bundle"))}, Content: contracts.DigestOf([]byte("content")),
		Study:   jobs.Study{File: "study.json", Digest: contracts.DigestOf([]byte(study)).String(), Model: w.study.Model, Scenario: w.study.Scenario},
		Project: "/home/somebody/seir", Environment: "prod", Executor: "process", Driver: "local", Tasks: w.study.TaskCount(),
		Versions: map[string]string{"mops": "v1.2.3", "bundle-worker": "v1.2.4", "contract": contracts.ContractVersion},
	}
	if err := w.catalog.Create(t.Context(), w.job, []byte(study)); err != nil {
		t.Fatal(err)
	}
	w.move(jobs.Transition{State: jobs.Submitted})
	w.begun = w.move(jobs.Transition{State: jobs.Running})
	return w
}

func (w *world) move(to jobs.Transition) jobs.Transition {
	w.t.Helper()
	w.clock = w.clock.Add(10 * time.Second)
	moved, err := w.catalog.Move(w.t.Context(), w.job.ID, to)
	if err != nil {
		w.t.Fatal(err)
	}
	return moved
}

// outcome is what a task answers: outputs, an error, or nothing.
type outcome struct {
	outputs     map[string]string
	err         *contracts.Error
	seconds     float64
	environment *contracts.EnvironmentRecord
}

// run stores what the tasks answer, in any order, and ends the job.
func (w *world) run(answer func(contracts.SimTask) outcome) {
	w.t.Helper()
	var good, bad []*contracts.SimReturn
	counts := jobs.Counts{Total: w.job.Tasks}
	for task := range w.job.SimTasks(w.study) {
		o := answer(task)
		r := &contracts.SimReturn{TaskID: task.Key(w.job.Content), Outputs: map[string]contracts.Artifact{}, Error: o.err, Seconds: o.seconds, Environment: o.environment}
		if o.environment != nil {
			r.EnvironmentDigest = o.environment.Digest()
		}
		for name, content := range o.outputs {
			r.Outputs[name] = contracts.NewArtifact("application/octet-stream", []byte(content))
		}
		switch {
		case o.err != nil:
			bad, counts.Failed = append(bad, r), counts.Failed+1
		case len(o.outputs) > 0:
			good, counts.Succeeded = append(good, r), counts.Succeeded+1
		default:
			counts.Cancelled++
		}
	}
	w.append(good, bad)
	state := jobs.Succeeded
	if counts.Succeeded < counts.Total {
		state = jobs.Partial
	}
	w.move(jobs.Transition{State: state, Tasks: &counts})
}

func (w *world) append(good, bad []*contracts.SimReturn) {
	w.t.Helper()
	for kind, list := range map[string][]*contracts.SimReturn{"good": good, "bad": bad} {
		a := w.catalog.Results(w.job)
		if kind == "bad" {
			a = w.catalog.Failures(w.job.ID, w.begun.Number)
		}
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		writer := a.NewWriter(w.job.ID, time.Now)
		for len(list) > 0 {
			n := 1 + rand.IntN(len(list))
			if err := writer.Append(w.t.Context(), list[:n]); err != nil {
				w.t.Fatal(err)
			}
			list = list[n:]
		}
	}
}

func (w *world) report() *Report {
	w.t.Helper()
	status, err := w.catalog.Status(w.t.Context(), w.job, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &Reporter{Catalog: w.catalog, Job: w.job, Status: status, Registry: "registry.example.org"}
	made, err := r.Make(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// document is a page as a browser reads it.
type document struct {
	t    *testing.T
	root *html.Node
}

// read parses the page and holds it against what every page must be: whole, in need of
// nothing, with a title and a description on each plot, and with links that lead
// somewhere.
func read(t *testing.T, r *Report) *document {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(r.HTML))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{t, root}
	ids := map[string]*html.Node{}
	for n := range d.root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] != nil {
				t.Errorf("two elements have the id %s", id)
			}
			ids[id] = n
		}
		d.harmless(n)
	}
	for _, n := range d.all("a") {
		if ids[strings.TrimPrefix(attr(n, "href"), "#")] == nil {
			t.Errorf("link to %s leads nowhere", attr(n, "href"))
		}
	}
	for _, n := range d.all("svg") {
		if attr(n, "aria-hidden") == "true" {
			continue
		}
		for _, id := range append(strings.Fields(attr(n, "aria-labelledby")), "a title and a description")[:2] {
			if ids[id] == nil || text(ids[id]) == "" {
				t.Errorf("a plot has no %s", id)
			}
		}
	}
	if n := len(d.all("figure")); n != r.Figures {
		t.Errorf("%d figures on the page, the report says %d", n, r.Figures)
	}
	return d
}

// harmless checks that an element runs nothing and fetches nothing.
func (d *document) harmless(n *html.Node) {
	switch n.Data {
	case "script", "iframe", "object", "embed", "link", "img", "image", "base", "form", "use", "foreignobject":
		d.t.Errorf("the page has a <%s>", n.Data)
	case "style":
		for _, bad := range []string{"@import", "url(", "http", "@font-face"} {
			if strings.Contains(text(n), bad) {
				d.t.Errorf("the style has %s", bad)
			}
		}
	}
	for _, a := range n.Attr {
		switch {
		case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
		case strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "href", a.Key == "style", strings.Contains(a.Val, "://"):
			d.t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
		}
		if a.Key == "d" && (a.Val == "" || strings.Contains(a.Val, "NaN") || strings.Contains(a.Val, "Inf")) {
			d.t.Errorf("a path is %.100q", a.Val)
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// all are the elements of a name.
func (d *document) all(name string) []*html.Node {
	var list []*html.Node
	for n := range d.root.Descendants() {
		if n.Type == html.ElementNode && strings.EqualFold(n.Data, name) {
			list = append(list, n)
		}
	}
	return list
}

// body is all text that a reader sees, with white space made single.
func (d *document) body() string {
	var words []string
	for n := range d.all("main")[0].Descendants() {
		if n.Type == html.TextNode {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func (d *document) has(texts ...string) {
	d.t.Helper()
	body := d.body()
	for _, want := range texts {
		if !strings.Contains(body, want) {
			d.t.Errorf("the page does not say %q", want)
		}
	}
}

// row is the cells of the table row with this head.
func (d *document) row(head string) []string {
	d.t.Helper()
	for _, tr := range d.all("tr") {
		var cells []string
		for c := range tr.ChildNodes() {
			cells = append(cells, text(c))
		}
		if len(cells) > 0 && cells[0] == head {
			return cells[1:]
		}
	}
	d.t.Fatalf("no row %q", head)
	return nil
}

// paths are the paths of a class in a figure.
func (d *document) paths(number int, class string) []string {
	var list []string
	for _, f := range d.all("figure") {
		if attr(f, "id") != fmt.Sprintf("figure-%d", number) {
			continue
		}
		for n := range f.Descendants() {
			if n.Data == "path" && attr(n, "class") == class && attr(n.Parent, "aria-hidden") == "" {
				list = append(list, attr(n, "d"))
			}
		}
	}
	return list
}
