package acceptance

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

type submitted struct {
	JobID       string `json:"job_id"`
	Bundle      string `json:"bundle"`
	Environment string `json:"environment"`
	Executor    string `json:"executor"`
	Tasks       int    `json:"tasks"`
}

type jobStatus struct {
	JobID string `json:"job_id"`
	State string `json:"state"`
	Tasks struct {
		Total, Succeeded, Failed, Running, Pending, Cached int
	} `json:"tasks"`
	Errors []struct {
		Count int            `json:"count"`
		Error map[string]any `json:"error"`
	} `json:"errors"`
}

// submit submits the study of the directory, waits for it, and holds the bundle that the
// job names against the repository that was pushed to.
func (u *user) submit(repository string, args ...string) submitted {
	u.t.Helper()
	var job submitted
	u.json(&job, "mops", append([]string{"jobs", "submit", "study.json", "--auto"}, args...)...)
	if name, _, _ := strings.Cut(job.Bundle, "@"); name != repository {
		u.t.Errorf("the job runs %s, the project is %s", job.Bundle, repository)
	}
	u.wait(job.JobID)
	return job
}

// wait follows a job to its end, which must be success.
func (u *user) wait(id string) jobStatus {
	u.t.Helper()
	var status jobStatus
	waitFor(u.t, "job "+id, func() bool {
		u.json(&status, "mops", "jobs", "status", id)
		switch status.State {
		case "SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED":
			return true
		}
		return false
	})
	if status.State != "SUCCEEDED" || status.Tasks.Succeeded != status.Tasks.Total {
		u.t.Errorf("job %s: %+v", id, status)
	}
	return status
}

// The project's name is the key: the repository that is pushed is the repository that
// the worker asks for.
func TestRegressionsOfTheDocument(t *testing.T) {
	u := newUser(t).up()
	registry := u.registryOf("local")

	t.Run("two projects", func(t *testing.T) {
		for _, name := range []string{"epi-model", "my-experiment"} {
			u.ok("modelops-bundle", "init", name, "--template", "minimal")
			u.cd(name).submit(name)
		}
	})
	t.Run("a nested name", func(t *testing.T) {
		u.ok("modelops-bundle", "init", "team/seir-calibration", "--template", "minimal")
		u.cd("seir-calibration").submit("team/seir-calibration")
	})
	t.Run("a login server with a path", func(t *testing.T) {
		u.copyEnvironment("local", "org", registry+"/org")
		u.ok("modelops-bundle", "init", "pathed", "--template", "minimal", "--env", "org")
		project := u.cd("pathed")
		if config := project.read(".modelops-bundle/config.yaml"); !strings.Contains(config, registry+"/org/pathed") {
			t.Errorf("config.yaml:\n%s", config)
		}
		project.submit("pathed")
		if tags := u.ok("crane", "ls", "--insecure", registry+"/org/pathed"); !strings.Contains(tags, "job-") {
			t.Errorf("tags of org/pathed: %q", tags)
		}
	})
	t.Run("a renamed directory", func(t *testing.T) {
		if err := os.Rename(filepath.Join(u.dir, "epi-model"), filepath.Join(u.dir, "renamed")); err != nil {
			t.Fatal(err)
		}
		u.cd("renamed").submit("epi-model")
	})
	t.Run("another environment", func(t *testing.T) {
		other := newUser(t).up()
		u.copyEnvironment("local", "other", other.registryOf("local"))
		project := u.cd("my-experiment")
		job := project.submit("my-experiment", "--env", "other")
		if job.Environment != "other" {
			t.Errorf("%+v", job)
		}
		tag := "job-" + strings.TrimPrefix(job.JobID, "job-")
		if tags := u.ok("crane", "ls", "--insecure", other.registryOf("local")+"/my-experiment"); !strings.Contains(tags, tag) {
			t.Errorf("the other registry has the tags %q", tags)
		}
		project.env = append(project.env, "MODELOPS_ENV=other")
		if e := project.envelope(5, "mops", "jobs", "submit", "study.json"); e["code"] != "environment_mismatch" {
			t.Errorf("a silent mismatch: %v", e)
		}
	})
}

// copyEnvironment writes an environment file like another one, with another name and
// registry.
func (u *user) copyEnvironment(from, to, loginServer string) {
	u.t.Helper()
	dir := filepath.Join(u.suite(), "bundle-env")
	data, err := os.ReadFile(filepath.Join(dir, from+".yaml"))
	if err != nil {
		u.t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "environment:"):
			lines[i] = "environment: " + strconv.Quote(to)
		case strings.HasPrefix(line, "  login_server:"):
			lines[i] = "  login_server: " + strconv.Quote(loginServer)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, to+".yaml"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// 200 parameter sets, five replicates: 1,000 rows for each output, with the study's
// seeds, and the same bytes when it is submitted again.
func TestStudyOfAThousand(t *testing.T) {
	u := newUser(t).up()
	u.ok("modelops-bundle", "init", "my-model", "--template", "minimal")
	project := u.cd("my-model")
	project.ok("mops", "study", "random", "--model", "model.sir", "--scenario", "baseline",
		"--param", "beta=0.1:0.6", "--param", "gamma=0.05:0.2", "--samples", "199", "--replicates", "5", "--seed", "7", "--output", "study.json", "--force")
	project.explicitSeeds("study.json", 11, 18446744073709551615)
	job := project.submit("my-model")
	if job.Tasks != 199*5+2 {
		t.Fatalf("%+v", job)
	}
	first := project.table(job.JobID, "results/first")
	if len(first) != 997 {
		t.Errorf("%d rows, want 997", len(first))
	}
	seeds := map[string]bool{}
	for _, row := range first {
		seeds[row["seed"]] = true
		if len(row["param_id"]) != 64 || row["beta"] == "" || !strings.HasPrefix(row["bundle"], "my-model@sha256:") || row["environment_digest"] == "" {
			t.Fatalf("row %v", row)
		}
	}
	if !seeds["11"] || !seeds["18446744073709551615"] {
		t.Error("the explicit seeds are not in the table")
	}
	again := project.submit("my-model")
	status := project.wait(again.JobID)
	if status.Tasks.Cached != status.Tasks.Total {
		t.Errorf("submitted again, it ran: %+v", status.Tasks)
	}
}

// explicitSeeds adds a parameter set for each seed.
func (u *user) explicitSeeds(file string, seeds ...uint64) {
	u.t.Helper()
	var study map[string]any
	decoder := json.NewDecoder(strings.NewReader(u.read(file)))
	decoder.UseNumber()
	if err := decoder.Decode(&study); err != nil {
		u.t.Fatal(err)
	}
	sets := study["parameter_sets"].([]any)
	for _, seed := range seeds {
		sets = append(sets, map[string]any{"params": map[string]any{"beta": json.Number("0.25"), "gamma": json.Number("0.1")}, "seed": seed})
	}
	study["parameter_sets"] = sets
	data, err := json.Marshal(study)
	if err != nil {
		u.t.Fatal(err)
	}
	u.write(file, string(data))
}

// table is the rows of the output final_size of a job, fetched into dir.
func (u *user) table(id, dir string) []map[string]string {
	u.t.Helper()
	u.ok("mops", "jobs", "results", id, "--output", dir, "--format", "csv")
	f, err := os.Open(filepath.Join(u.dir, dir, "final_size.csv"))
	if err != nil {
		u.t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		u.t.Fatal(err)
	}
	var rows []map[string]string
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, column := range records[0] {
			row[column] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// A model in a shell script runs as one in Python does.
func TestCommandTemplate(t *testing.T) {
	u := newUser(t).up()
	u.ok("modelops-bundle", "init", "in-shell", "--template", "command")
	project := u.cd("in-shell")
	job := project.submit("in-shell")
	rows := project.table(job.JobID, "results/all")
	if len(rows) != 6 || rows[0]["attack_rate"] == "" || rows[0]["attack_rate"] == rows[1]["attack_rate"] {
		t.Errorf("%v", rows)
	}
}
