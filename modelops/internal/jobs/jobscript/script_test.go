//go:build unix

package jobscript

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube/kubetest"
)

// bin is the directory of the programs.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	defer kubetest.Stop()
	if bin = os.Getenv("MODELOPS_TEST_BIN"); bin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "jobscript-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+"/", "./modelops/cmd/mops", "./modelops/cmd/mops-cloud", "./modelops-bundle/cmd/modelops-bundle", "./bundle-worker/cmd/bundle-worker")
	build.Dir = "../../../.."
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, output)
		return 1
	}
	bin = dir
	return m.Run()
}

// TestScript runs the scripts of testdata/script, each in an empty home, inside the
// project "my-model" of the local environment.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"await":   await,
			"table":   checkTable,
			"killjob": killJob,
			"damage":  damage,
			"exits":   exits,
			"tags":    tags,
			"dask":    onDask,
		},
	})
}

func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("TMPDIR", env.WorkDir)
	env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	docs, err := filepath.Abs("../../../../docs")
	if err != nil {
		return err
	}
	env.Setenv("DOCS", docs)
	if venvs := os.Getenv("MODELOPS_TEST_DASK"); venvs != "" { // made once, for all scripts and runs
		env.Setenv("MODELOPS_VENVS_DIR", venvs)
	}
	mops := func(args ...string) error {
		cmd := exec.Command(filepath.Join(bin, "mops"), args...)
		cmd.Env, cmd.Dir = env.Vars, env.WorkDir
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("mops %v: %w\n%s", args, err, output)
		}
		return nil
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	if err := ownPort(home, env.WorkDir); err != nil {
		return err
	}
	if err := mops("infra", "up"); err != nil {
		return err
	}
	env.Defer(func() { _ = mops("infra", "down", "--interrupt-jobs") })
	return mops("bundle", "init", "my-model", "--template", "minimal")
}

// ownPort has the registry of a home listen where no other script's does: while one is
// down, nobody else may answer in its place.
func ownPort(home, unique string) error {
	dir := filepath.Join(home, ".modelops", "local")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(unique)) // it never fails
	return os.WriteFile(filepath.Join(dir, "registry.json"), fmt.Appendf(nil, `{"port":%d}`, 20_000+hash.Sum32()%10_000), 0o600)
}

// jobStatus is what the scripts ask about.
type jobStatus struct {
	ID                string `json:"job_id"`
	State             string `json:"state"`
	Tasks             map[string]int
	Evaluations       map[string]int
	Started, Finished time.Time
	Driver            *struct {
		PID   int
		Alive bool
	}
	Waiting *struct{ For, Until string }
	Errors  []struct {
		Count int
		Error contracts.Error
	}
}

func status(ts *testscript.TestScript, job string) jobStatus {
	out, err := output(ts, "mops", "jobs", "status", job, "--json")
	ts.Check(err)
	var s jobStatus
	ts.Check(json.Unmarshal([]byte(out), &s))
	return s
}

// output runs a program where the script is.
func output(ts *testscript.TestScript, name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"HOME", "PATH", "TMPDIR", "MODELOPS_ENV", "MODELOPS_HOME", "MODELOPS_VENVS_DIR"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	out, err := cmd.Output()
	return string(out), err
}

// await waits until a job is as wanted: "await JOB STATE", "await JOB succeeded>3",
// "await JOB evaluations.succeeded>3", "await JOB lost".
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await JOB STATE|COUNT>N|lost")
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(90 * time.Second)
	for {
		s := status(ts, args[0])
		count, least, isCount := strings.Cut(args[1], ">")
		n, _ := strconv.Atoi(least)
		counts := s.Tasks
		if name, of := strings.CutPrefix(count, "evaluations."); of {
			count, counts = name, s.Evaluations
		}
		switch {
		case args[1] == "lost" && s.Driver != nil && !s.Driver.Alive,
			isCount && counts[count] > n,
			s.State == args[1]:
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			ts.Fatalf("job is %+v, want %s", s, args[1])
		}
	}
}

// killJob kills the job's driver as nothing can prevent, or stops it: "killjob JOB
// [STOP]". Its identifier is $KILLED then.
func killJob(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: killjob JOB [STOP]")
	}
	signal := syscall.SIGKILL
	if len(args) == 2 {
		signal = syscall.SIGSTOP
	}
	var s jobStatus
	until(ts, "the job has a driver", func() bool { // one that was resumed has none at once, or its last one's number
		s = status(ts, args[0])
		if s.Driver == nil || s.Driver.PID <= 1 {
			return false
		}
		err := syscall.Kill(s.Driver.PID, signal)
		if !errors.Is(err, syscall.ESRCH) {
			ts.Check(err)
		}
		return err == nil
	})
	ts.Setenv("KILLED", strconv.Itoa(s.Driver.PID))
}

// until waits until something holds.
func until(ts *testscript.TestScript, what string, holds func() bool) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			ts.Fatalf("it did not come to it that %s", what)
		}
	}
}

// checkTable holds a CSV table against a study: "table FILE STUDY [same FILE]". Every
// task is there once for each of its rows, in the study's order, with its own seed.
func checkTable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: table FILE STUDY")
	}
	records, err := csv.NewReader(strings.NewReader(ts.ReadFile(args[0]))).ReadAll()
	ts.Check(err)
	want, err := expected(ts.ReadFile(args[1]))
	ts.Check(err)
	column := func(name string) int {
		i := slices.Index(records[0], name)
		if i < 0 {
			ts.Fatalf("no column %s in %q", name, records[0])
		}
		return i
	}
	id, seed, replicate := column("param_id"), column("seed"), column("replicate")
	if len(records)-1 != len(want) {
		ts.Fatalf("%s has %d rows, want %d", args[0], len(records)-1, len(want))
	}
	for i, row := range records[1:] {
		if got := row[id] + " " + row[seed] + " " + row[replicate]; got != want[i] {
			ts.Fatalf("row %d is %s, want %s", i, got, want[i])
		}
	}
}

// exits runs a program that ends with the exit code: "exits CODE PROGRAM ARGS...".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// damage flips the last bit of the newest stored segment of results.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	segments, err := filepath.Glob(filepath.Join(ts.Getenv("HOME"), ".modelops/local/storage/results/*/segments/*"))
	ts.Check(err)
	if neg || len(segments) == 0 {
		ts.Fatalf("no segments")
	}
	slices.Sort(segments)
	file := segments[len(segments)-1]
	data, err := os.ReadFile(file)
	ts.Check(err)
	data[len(data)-1] ^= 1
	ts.Check(os.Chmod(file, 0o600))
	ts.Check(os.WriteFile(file, data, 0o600))
}

// tags prints the tags of a repository of the local registry, as the registry lists them.
func tags(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tags REPOSITORY")
	}
	out, err := output(ts, "mops", "env", "show", "local", "--json")
	ts.Check(err)
	var env struct {
		Registry struct {
			LoginServer string `json:"login_server"`
		}
	}
	ts.Check(json.Unmarshal([]byte(out), &env))
	ts.Check(ts.Exec("curl", "-fsS", "http://"+env.Registry.LoginServer+"/v2/"+args[0]+"/tags/list"))
}
