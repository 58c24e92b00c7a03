package replay_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs/replay"
	"github.com/modelops-suite/modelops-go/modelops/internal/results/archive"
)

// executor answers tasks with what it is given, one after the other.
type executor struct{ answers []*contracts.SimReturn }

func (e *executor) Run(ctx context.Context, tasks <-chan jobs.Task, results chan<- jobs.Result) error {
	for task := range tasks {
		answer := *e.answers[0]
		e.answers = e.answers[1:]
		if answer.TaskID == "" {
			answer.TaskID = task.Key
		}
		results <- jobs.Result{Task: task, Return: &answer}
	}
	return nil
}

func outputs(named ...string) *contracts.SimReturn {
	r := &contracts.SimReturn{Outputs: map[string]contracts.Artifact{}, EnvironmentDigest: contracts.EnvironmentRecord{}.Digest()}
	for i := 0; i < len(named); i += 2 {
		r.Outputs[named[i]] = contracts.NewArtifact("text/plain", []byte(named[i+1]))
	}
	return r
}

func failed(code contracts.Code, message string) *contracts.SimReturn {
	return &contracts.SimReturn{Outputs: map[string]contracts.Artifact{}, EnvironmentDigest: contracts.EnvironmentRecord{}.Digest(), Error: &contracts.Error{Code: code, Type: "T", Message: message}}
}

func in(environment contracts.EnvironmentRecord, r *contracts.SimReturn) *contracts.SimReturn {
	r.Environment, r.EnvironmentDigest = &environment, environment.Digest()
	return r
}

func replayed(t *testing.T, recorded *contracts.SimReturn, save string, answers ...*contracts.SimReturn) (*replay.Report, error) {
	t.Helper()
	store, err := blobstore.OpenDir(filepath.Join(t.TempDir(), "storage"), "")
	if err != nil {
		t.Fatal(err)
	}
	content := contracts.DigestOf(nil)
	sim := contracts.SimTask{Bundle: contracts.BundleRef{Repository: "m", Digest: content}, Entrypoint: "m.n/s"}
	e := &executor{answers}
	r := &replay.Replayer{
		Job: &jobs.Job{ID: "job-00000001", Content: content}, Task: jobs.Task{Key: sim.Key(content), Sim: sim},
		Recorded: recorded, Archive: archive.Results(store, content), Runs: len(answers), Save: save,
		Executor: func(string) jobs.Executor { return e },
		Environment: func(_ context.Context, digest string) (*contracts.EnvironmentRecord, error) {
			return recorded.Environment, nil
		},
	}
	return r.Replay(t.Context())
}

func TestVerdict(t *testing.T) {
	one := contracts.EnvironmentRecord{Python: "3.12.1"}
	two := contracts.EnvironmentRecord{Python: "3.13.0"}
	for name, tc := range map[string]struct {
		recorded *contracts.SimReturn
		answers  []*contracts.SimReturn
		says     []string // of the verdict; none for the same
	}{
		"same":               {outputs("a", "1", "b", "2"), []*contracts.SimReturn{outputs("b", "2", "a", "1")}, nil},
		"same twice":         {outputs("a", "1"), []*contracts.SimReturn{outputs("a", "1"), outputs("a", "1")}, nil},
		"same failure":       {failed(contracts.CodeModel, "x"), []*contracts.SimReturn{failed(contracts.CodeModel, "x")}, nil},
		"same bad packages":  {failed(contracts.CodeDependencies, "x"), []*contracts.SimReturn{failed(contracts.CodeDependencies, "x")}, nil},
		"other bytes":        {outputs("a", "1", "b", "2"), []*contracts.SimReturn{outputs("a", "1", "b", "3")}, []string{`on record: "b"`, "--repeat 3"}},
		"missing":            {outputs("a", "1", "b", "2"), []*contracts.SimReturn{outputs("a", "1")}, []string{`"b"`}},
		"one more":           {outputs("a", "1"), []*contracts.SimReturn{outputs("a", "1", "c", "3")}, []string{`"c"`}},
		"fails":              {outputs("a", "1"), []*contracts.SimReturn{failed(contracts.CodeModel, "x")}, []string{"succeeded in the job and fails here: model_error: T: x"}},
		"succeeds":           {failed(contracts.CodeTimeout, "late"), []*contracts.SimReturn{outputs("a", "1")}, []string{"succeeds here; it failed with timeout: T: late", "memory and its load"}},
		"stopped":            {failed(contracts.CodeWorkerStopped, "x"), []*contracts.SimReturn{outputs("a", "1")}, []string{"mops jobs resume job-00000001"}},
		"no environment":     {&contracts.SimReturn{Error: &contracts.Error{Code: contracts.CodeImport}}, []*contracts.SimReturn{outputs("a", "1")}, []string{"not on record"}},
		"other message":      {failed(contracts.CodeModel, "x"), []*contracts.SimReturn{failed(contracts.CodeModel, "y")}, []string{"T: y; in the job with model_error: T: x"}},
		"other code":         {failed(contracts.CodeModel, "x"), []*contracts.SimReturn{failed(contracts.CodeImport, "x")}, []string{"import_error"}},
		"fresh agree":        {outputs("a", "1"), []*contracts.SimReturn{outputs("a", "2"), outputs("a", "2")}, []string{"what an earlier task left"}},
		"second differs":     {outputs("a", "1"), []*contracts.SimReturn{outputs("a", "1"), outputs("a", "2")}, []string{"differ from each other"}},
		"other environment":  {in(one, outputs("a", "1")), []*contracts.SimReturn{in(two, outputs("a", "2"))}, []string{"environments differ"}},
		"only environment":   {in(one, outputs("a", "1")), []*contracts.SimReturn{in(two, outputs("a", "1"))}, nil},
		"random, other env.": {in(one, outputs("a", "1")), []*contracts.SimReturn{in(two, outputs("a", "2")), in(two, outputs("a", "3"))}, []string{"differ from each other"}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := replayed(t, tc.recorded, "", tc.answers...)
			if err != nil {
				t.Fatal(err)
			}
			if report.Same != (tc.says == nil) || report.Same != (report.Error == nil) || len(report.Runs) != len(tc.answers) {
				t.Fatalf("%+v", report)
			}
			for _, part := range tc.says {
				if text := report.Error.Text(); !strings.Contains(text, part) || report.Error.Code != contracts.CodeFailed {
					t.Errorf("%q does not say %q", text, part)
				}
			}
			if strings.Contains(name, "other env") && (report.Environment.Same || len(report.Environment.Differences) != 1) {
				t.Errorf("%+v", report.Environment)
			}
		})
	}
}

// What keeps a task from running is an error, no difference.
func TestCannotRun(t *testing.T) {
	for _, code := range []contracts.Code{contracts.CodeUnavailable, contracts.CodeBundleNotFound, contracts.CodeDependencies, contracts.CodeIntegrity, contracts.CodeWorkerStopped, contracts.CodeDiskFull} {
		if _, err := replayed(t, outputs("a", "1"), "", failed(code, "x")); err == nil || contracts.AsError(err).Code != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	other := outputs("a", "1")
	other.TaskID = strings.Repeat("0", 64)
	if _, err := replayed(t, outputs("a", "1"), "", other); err == nil || contracts.AsError(err).Code != contracts.CodeProtocol {
		t.Errorf("another task's result: %v", err)
	}
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	if _, err := replayed(t, outputs("a", "1", "deep/b.csv", "x"), dir, outputs("a", "2"), outputs("a", "3")); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"recorded/a": "1", "recorded/deep/b.csv": "x", "replayed/a": "2", "replayed-2/a": "3"} {
		if got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file))); string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	if err := replay.CheckSave(dir); err == nil || contracts.AsError(err).Code != contracts.CodeConflict {
		t.Errorf("a directory that is full: %v", err)
	}
	if err := replay.CheckSave(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
	// The names are the model's, and lead nowhere else.
	outside := filepath.Join(t.TempDir(), "out")
	if _, err := replayed(t, outputs("../../x", "1"), outside, outputs("../../x", "1")); err == nil {
		t.Error("an output was written outside")
	}
	if _, err := os.Stat(filepath.Join(outside, "../x")); err == nil {
		t.Error("it is there")
	}
}

// A stored blob that is damaged is damage, not a difference.
func TestDamagedBlob(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	store, err := blobstore.OpenDir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	content := contracts.DigestOf(nil)
	a := archive.Results(store, content)
	data := strings.Repeat("0", 1<<20)
	stored, err := a.PutBlob(t.Context(), contracts.NewArtifact("x/y", []byte(data)), strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "results/"+content.Hex()+"/blobs/"+stored.Checksum, strings.NewReader(data[1:]+"1")); err != nil {
		t.Fatal(err)
	}
	sim := contracts.SimTask{Bundle: contracts.BundleRef{Repository: "m", Digest: content}, Entrypoint: "m.n/s"}
	r := &replay.Replayer{
		Job: &jobs.Job{ID: "job-00000001", Content: content}, Task: jobs.Task{Key: sim.Key(content), Sim: sim}, Archive: a, Runs: 1,
		Recorded: &contracts.SimReturn{Outputs: map[string]contracts.Artifact{"a": stored}},
		Executor: func(string) jobs.Executor { return &executor{[]*contracts.SimReturn{outputs("a", "0x")}} },
	}
	if _, err := r.Replay(t.Context()); err == nil || contracts.AsError(err).Code != contracts.CodeIntegrity {
		t.Errorf("got %v", err)
	}
}
