package report

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// seir is a study of six sets with two replicates, one of which states its seed.
const seir = `{"model":"seir.model","scenario":"baseline","n_replicates":2,"sampling_method":"grid","parameter_sets":[
 {"params":{"beta":0.2,"masks":"none","n":1000}},{"params":{"beta":0.4,"masks":"none","n":1000}},{"params":{"beta":0.6,"masks":"none","n":1000}},
 {"params":{"beta":0.2,"masks":"cloth","n":1000}},{"params":{"beta":0.4,"masks":"cloth","n":1000}},{"params":{"beta":0.6,"masks":"cloth","n":1000},"seed":42}]}`

var python = &contracts.EnvironmentRecord{Python: "3.12.1", Platform: "linux-x86_64", Packages: map[string]string{"numpy": "2.1.0", "scipy": "1.14.1"}}

// epidemic answers exact numbers: size is 100 beta plus the replicate.
func epidemic(task contracts.SimTask) outcome {
	beta, _ := task.Params.Values["beta"].Float64()
	if beta == 0.6 && task.Replicate == 1 {
		return outcome{seconds: 3, environment: python, err: &contracts.Error{Code: contracts.CodeModel, Stage: contracts.StageRun, Type: "ValueError", Message: fmt.Sprintf("no equilibrium at %v", task.Seed),
			Traceback: "Traceback (most recent call last):\n  File \"/root/cache/bundles/" + contracts.DigestOf([]byte("bundle")).Short() + "/wire.py\", line 3\n", StderrTail: "about to fail"}}
	}
	var series strings.Builder
	series.WriteString("day,infected,region\n")
	for day := range 11 {
		fmt.Fprintf(&series, "%d,%v,north\n", day, 100*beta*float64(day))
	}
	return outcome{seconds: 1 + beta, environment: python, outputs: map[string]string{
		"size.csv": fmt.Sprintf("size,label\n%v,x\n", 100*beta+float64(task.Replicate)), "curve": series.String(), "map.png": "\x89PNG\x00",
	}}
}

func TestReport(t *testing.T) {
	w := newWorld(t, seir)
	w.run(epidemic)
	made := w.report()
	d := read(t, made)
	if made.Tables != 2 || made.Figures != 4 { // curve, size, share failed, seconds
		t.Errorf("%d tables, %d figures", made.Tables, made.Figures)
	}
	d.has("job-00000001", "PARTIAL", "11 simulations of seir.model, scenario baseline: 6 parameter sets", "10 succeeded, 1 failed",
		"Submitted 2026-11-25 09:00:00 UTC", "Finished 2026-11-25 09:00:30 UTC", "Ran for 10 s")
	// What varies, and what does not.
	if diff := cmp.Diff([][]string{{"3", "0.2, 0.4, 0.6"}, {"2", "cloth, none"}, {"constant", "1000"}}, [][]string{d.row("beta"), d.row("masks"), d.row("n")}); diff != "" {
		t.Error(diff)
	}
	// Of 20 20 21 21 40 40 41 41 60 60, by hand.
	if diff := cmp.Diff([]string{"36.4", "15.61", "20", "20", "40", "60", "60", "99.9 %", "0.95"}, d.row("size")); diff != "" {
		t.Error(diff)
	}
	if got := d.row("map.png"); got[0] != "10" || got[1] != "50 bytes" {
		t.Errorf("files: %q", got)
	}
	d.has("ValueError", "no equilibrium at", "1 task (100 % of the failures)", `File "wire.py", line 3`, "about to fail", "Seconds that 10 tasks that succeeded spent", "Time in simulations 16.6 s")
	if strings.Contains(string(made.HTML), "/home/somebody") || strings.Contains(string(made.HTML), "/root/cache") {
		t.Error("the page has a path of a machine")
	}
}

func TestFailuresLieWhere(t *testing.T) {
	w := newWorld(t, seir)
	w.run(epidemic)
	d := read(t, w.report())
	// One of three tasks at 0.6 failed: a third of the bar's height, 138 of the panel.
	bars := d.paths(3, "bar bad")
	if len(bars) != 2 || !strings.Contains(bars[0], "v46h") {
		t.Errorf("bars of failures: %q", bars)
	}
	var rows []string
	for _, tr := range d.all("tr") {
		rows = append(rows, strings.Join(strings.Fields(text(tr)), " "))
	}
	if all := strings.Join(rows, "\n"); !strings.Contains(all, "beta0.60.2, 0.4, 0.6") || !strings.Contains(all, "masksnonecloth, none") {
		t.Errorf("where it failed:\n%s", all)
	}
}

func TestProvenance(t *testing.T) {
	w := newWorld(t, seir)
	w.run(epidemic)
	d := read(t, w.report())
	bundle, study := w.job.Bundle.String(), w.job.Study.Digest
	d.has(bundle, w.job.Bundle.Digest.String(), w.job.Content.String(), study, "seir.model/baseline", "registry.example.org", "Environment prod",
		"mops version v1.2.3", "bundle-worker version v1.2.4", "Contract version "+contracts.ContractVersion,
		"explicit in 1 set of 6; derived in the others: BLAKE2b-64(param_id + \":\" + replicate)",
		python.Digest(), "Python 3.12.1", "linux-x86_64", "numpy 2.1.0", "scipy 1.14.1", "Environment of 11 tasks",
		"modelops-bundle pull "+bundle+" seir", "mops jobs submit study.json --no-cache --wait \\ --bundle "+bundle, "mops jobs replay job-00000001 0",
		"@misc{job-00000001,", "year = {2026}", "under Python 3.12.1 on linux-x86_64 with 2 packages", "Varied were beta (0.2, 0.4, 0.6) and masks (cloth, none).")
}

// The formula on the page is the one that seeds are made by.
func TestSeedFormula(t *testing.T) {
	d := &design{sets: 1}
	if got := d.seeds(); got != "derived: "+seedFormula || !strings.Contains(got, "mod 2³²") || contracts.ReplicateSeed("x", 0) >= 1<<32 {
		t.Error(got)
	}
	d.explicit = 1
	if got := d.seeds(); !strings.HasPrefix(got, "explicit: each") {
		t.Error(got)
	}
}

// Curves lie where the rows say: with six sets, bands over all, and a panel for each
// parameter.
func TestCurves(t *testing.T) {
	w := newWorld(t, seir)
	w.run(epidemic)
	d := read(t, w.report())
	// 10 runs end at 200, 400 (four each) and 600 (two): the median ends at 400. The
	// scale ends at 624, the panel's plot goes from 274 up to 22.
	median := d.paths(1, "line c0")
	if len(median) == 0 || !strings.HasPrefix(median[0], "M48 274L") || !strings.HasSuffix(median[0], "L948 112.5") {
		t.Errorf("median: %q", median)
	}
	if n := len(d.paths(1, "thin")); n != 10 {
		t.Errorf("%d single runs", n)
	}
	for class, want := range map[string]int{"band90 c0": 1, "band50 c0": 1, "line r0": 1, "line r2": 1, "line r4": 1, "line c1": 1} {
		if n := len(d.paths(1, class)); n != want {
			t.Errorf("%d paths of class %s, want %d", n, class, want)
		}
	}
	d.has("infected by beta", "infected by masks", "read off at each whole day")
}

// Few sets are told apart.
func TestFewSets(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","n_replicates":3,"parameter_sets":[{"params":{"beta":0.2}},{"params":{"beta":0.4}}]}`)
	w.run(epidemic)
	d := read(t, w.report())
	if len(d.paths(1, "line c0")) != 1 || len(d.paths(1, "line c1")) != 1 || len(d.paths(1, "band90 c1")) != 1 {
		t.Error("the two sets are not drawn apart")
	}
	d.has("beta 0.2", "beta 0.4", "for each parameter set the pointwise median")
}

// Everything from outside is text and nothing else.
func TestHostile(t *testing.T) {
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	quoted = strings.ReplaceAll(quoted, "/", `\/`)
	w := newWorld(t, `{"model":"m<script>.n","scenario":"s\"><svg onload=alert(3)>","n_replicates":2,"sampling_method":"`+quoted+`","parameter_sets":[
	 {"params":{"`+quoted+`":"`+quoted+`","x":1}},{"params":{"`+quoted+`":"</title><script>","x":2}},{"params":{"`+quoted+`":"]]>","x":1000000}}]}`)
	w.job.Study.File = evil
	w.job.Versions["<script>"] = evil
	w.job.Options.Timeout = "1s;<script>"
	w.run(func(task contracts.SimTask) outcome {
		if task.Set == 1 {
			return outcome{err: &contracts.Error{Code: contracts.CodeModel, Stage: "<script>", Type: evil, Message: evil, Hint: evil, Traceback: evil + "\x1b[31m", StderrTail: "</pre>" + evil,
				Problems: []contracts.Problem{{Field: evil, Message: evil}}}}
		}
		csv := "t,\"<script>alert(4)</script>\"\n0,1\n1,5\n"
		return outcome{environment: &contracts.EnvironmentRecord{Python: evil, Platform: evil, Packages: map[string]string{evil: evil}},
			outputs: map[string]string{evil: csv, "one" + evil: `{"a</svg><script>": 3}`, "file" + evil: "\x00" + evil}}
	})
	made := w.report()
	d := read(t, made)
	d.has("<script>alert(1)</script>", "<script>alert(4)</script>", `mops jobs submit '<script>`, "onerror=alert(2)")
	if bytes.ContainsRune(made.HTML, '\x1b') {
		t.Error("the page has a control character")
	}
}

func TestDeterministic(t *testing.T) {
	var first []byte
	for range 4 {
		w := newWorld(t, seir)
		w.run(epidemic)
		made := w.report()
		if first == nil {
			first = made.HTML
		}
		if !bytes.Equal(first, made.HTML) {
			t.Fatal("the page differs from run to run")
		}
	}
}

// A job that has nothing yet, and one that is under way.
func TestNotEnded(t *testing.T) {
	w := newWorld(t, seir)
	d := read(t, w.report())
	d.has("RUNNING", "The job is RUNNING: this report has the 0 tasks with a result so far.", "There are no results yet.", "No task has a result yet.", "No failure is recorded.")

	task := func() (first contracts.SimTask) {
		for task := range w.job.SimTasks(w.study) {
			return task
		}
		return
	}()
	o := epidemic(task)
	w.append([]*contracts.SimReturn{{TaskID: task.Key(w.job.Content), Seconds: 1, Outputs: map[string]contracts.Artifact{"size.csv": contracts.NewArtifact("text/csv", []byte(o.outputs["size.csv"]))}}}, nil)
	d = read(t, w.report())
	d.has("this report has the 1 task with a result so far", "1 task does not say what environment it ran in")
}

// Several environments are all shown, and warned of.
func TestEnvironments(t *testing.T) {
	w := newWorld(t, seir)
	other := &contracts.EnvironmentRecord{Python: "3.13.0", Platform: "linux-aarch64", Packages: map[string]string{}}
	w.run(func(task contracts.SimTask) outcome {
		o := epidemic(task)
		if task.Set == 0 {
			o.environment = other
		}
		return o
	})
	d := read(t, w.report())
	d.has("The tasks ran in 2 different environments", "Environment of 9 tasks", "Environment of 2 tasks", "Python 3.13.0", other.Digest(), "Tasks ran in 2 environments, most of them (9 tasks)")
}

// A failure that was made good in a later attempt is none.
func TestAttempts(t *testing.T) {
	w := newWorld(t, seir)
	w.run(epidemic)
	w.move(jobs.Transition{State: jobs.Submitted})
	w.begun = w.move(jobs.Transition{State: jobs.Running})
	for task := range w.job.SimTasks(w.study) {
		if epidemic(task).err != nil {
			r := &contracts.SimReturn{TaskID: task.Key(w.job.Content), Outputs: map[string]contracts.Artifact{"size.csv": contracts.NewArtifact("text/csv", []byte("size,label\n7,x\n"))}}
			w.append([]*contracts.SimReturn{r}, nil)
		}
	}
	w.move(jobs.Transition{State: jobs.Succeeded, Tasks: &jobs.Counts{Total: 11, Succeeded: 11}})
	d := read(t, w.report())
	d.has("All succeeded", "No failure is recorded.")
}

// Failures whose record is damaged are left out and said; the rest of the page holds.
func TestDamagedFailures(t *testing.T) {
	w := newWorld(t, seir)
	w.run(epidemic)
	store := w.catalog.Store()
	for entry, err := range store.List(t.Context(), "jobs/"+w.job.ID+"/failures/") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(entry.Key, "/segments/") {
			continue
		}
		data, err := blobstore.Read(t.Context(), store, entry.Key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		if err := store.Put(t.Context(), entry.Key, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	d := read(t, w.report())
	d.has("1 stored record of failures is damaged and left out.", "10 succeeded, 1 failed", "The records of failures are damaged.")
}

// The page and what is kept are bounded, whatever the job.
func TestBounds(t *testing.T) {
	var study strings.Builder
	study.WriteString(`{"model":"m.n","scenario":"s","n_replicates":1,"parameter_sets":[`)
	const sets = 21_000
	for i := range sets {
		if i > 0 {
			study.WriteByte(',')
		}
		fmt.Fprintf(&study, `{"params":{"a":%d,"b":%d}}`, i, i*7919%sets)
	}
	study.WriteString("]}")
	w := newWorld(t, study.String())
	w.run(func(task contracts.SimTask) outcome {
		return outcome{seconds: 1, outputs: map[string]string{"y": fmt.Sprintf(`{"y": %d}`, task.Set)}}
	})
	made := w.report()
	d := read(t, made)
	if len(made.HTML) > 1<<20 {
		t.Errorf("the page has %d bytes", len(made.HTML))
	}
	d.has("of 21,000 runs (drawn evenly, by a hash of their place in the study)")
	// The values are 0 to 20,999, evenly: 5 % and 95 % of a sample lie near theirs.
	for column, want := range map[int]float64{2: 0, 3: 1050, 4: 10500, 5: 19950, 6: 20999} {
		if got := parse(strings.ReplaceAll(d.row("y")[column], ",", "")); math.Abs(got-want) > 210 {
			t.Errorf("column %d of the numbers is %v, want about %v", column, got, want)
		}
	}
	if !bytes.Equal(made.HTML, w.report().HTML) {
		t.Error("what is drawn of many runs differs from time to time")
	}
	dots := strings.Count(d.paths(1, "dot c0")[0], "h0")
	if dots < maxDots*8/10 || dots > maxDots*12/10 {
		t.Errorf("%d dots", dots)
	}
}

func TestManyOutputs(t *testing.T) {
	w := newWorld(t, `{"model":"m.n","scenario":"s","n_replicates":40,"parameter_sets":[`+
		`{"params":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}},{"params":{"a":2,"b":3,"c":4,"d":5,"e":6,"f":7,"g":8,"h":9}},{"params":{"a":3,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}}]}`)
	var head, cells []string
	for i := range 20 {
		head, cells = append(head, fmt.Sprintf("column%02d", i)), append(cells, "1")
	}
	csv := strings.Join(head, ",") + "\n" + strings.Join(cells, ",") + "\n"
	w.run(func(task contracts.SimTask) outcome {
		outputs := map[string]string{}
		for i := range 30 {
			outputs[fmt.Sprintf("output%02d", i)] = csv
		}
		return outcome{seconds: 1, outputs: outputs}
	})
	made := w.report()
	d := read(t, made)
	plots := 0
	for _, n := range d.all("svg") {
		if attr(n, "role") == "img" {
			plots++
		}
	}
	if plots > maxPanels+maxParams+1 || len(made.HTML) > 5<<20 || made.Tables != 30 {
		t.Errorf("%d plots, %d bytes, %d tables", plots, len(made.HTML), made.Tables)
	}
	d.has("Not shown: output12", "would make the page too large", "The first 8 of 20 columns", "Shown are the 6 of 8 parameters")
}

// Tables of other forms: rows in no order, and cells that are no numbers.
func TestOddTables(t *testing.T) {
	w := newWorld(t, seir)
	w.run(func(task contracts.SimTask) outcome {
		return outcome{outputs: map[string]string{
			"rows": "age,n\n1,5\n1,\n0,inf\n", "text": "a,b\nx,y\n", "infinite": "t,v\n0,nan\n1,inf\n", "constant": "c,d\n0,-1e308\n", "empty": "a,b\n",
			"dates": `[{"date":"2026-01-01","v":1},{"date":"2026-01-02","v":2}]`, "huge": fmt.Sprintf("h,i\n%ve307,1\n", 10*(task.Replicate*2-1)), "truth": `{"extinct": true}`,
		}}
	})
	made := w.report()
	d := read(t, made)
	d.has("no column rises from row to row in every run", "It has no column of numbers.", "True is 1, false is 0.", "without a finite value of n are left out")
}

func TestStatistics(t *testing.T) {
	for p, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 2.5, 1: 4} {
		if got := quantile([]float64{1, 2, 3, 4}, p); got != want {
			t.Errorf("quantile %v = %v, want %v", p, got, want)
		}
	}
	x := []float64{1, 2, 3, 4, 5, math.NaN()}
	if got := spearman(x, []float64{1, 8, 27, 64, 125, 3}); math.Abs(got-1) > 1e-12 {
		t.Errorf("rank correlation of a rising function = %v", got)
	}
	if got := spearman(x, []float64{5, 6, 7, 8, 7, 3}); math.Abs(got-0.8207826816681233) > 1e-12 { // scipy.stats.spearmanr
		t.Errorf("rank correlation with ties = %v", got)
	}
	kept := 0
	for i := range 100_000 {
		if (draw{100_000, 1000}).keeps(i) {
			kept++
		}
	}
	if kept < 900 || kept > 1100 {
		t.Errorf("%d of about 1,000 kept", kept)
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		lo, hi float64
		log    bool
		want   string
	}{
		{0, 1, false, "0 0.5 1.0"}, {-3, 3, false, "−2 0 2"}, {0.1, 0.6, false, "0.2 0.4 0.6"}, {0, 2e7, false, "0 1×10⁷ 2×10⁷"},
		{1, 1e6, true, "1 10 100 1,000 10,000 100,000 1,000,000"}, {5, 5, false, "4.5 5.0 5.5"}, {0, 0, false, "−1.0 −0.5 0 0.5 1.0"}, {math.Inf(1), math.Inf(-1), false, "0 0.5 1.0"},
	} {
		var got []string
		for _, tick := range newScale(tc.lo, tc.hi, tc.log, 0, 100).ticks(3) {
			got = append(got, tick.Label)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%v to %v: %s, want %s", tc.lo, tc.hi, strings.Join(got, " "), tc.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1234567: "1,234,567", -0.5: "−0.5", 0.123456: "0.1235", 1e-9: "1×10⁻⁹", -2.5e12: "−2.5×10¹²", 12345.678: "12,346", math.Inf(-1): "-∞"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0 s", 0.00025: "250 µs", 0.25: "250 ms", 12: "12 s", 125: "2 min 5 s", 3725: "1 h 2 min"} {
		if got := duration(s); got != want {
			t.Errorf("%v s: %s, want %s", s, got, want)
		}
	}
}
