package contracts_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

const xID = "3f1b615cf1dab4bfd2505c195f18fe8d70035f80beb5b0056c93844204158684" // of {"x":1.0}

func taskJSON(more ...string) string {
	return `{"bundle_ref":"my-model@sha256:` + hexA + `","entrypoint":"models.sir/baseline","params":{"param_id":"` + xID + `","values":{"x":1.0}},"seed":42` +
		strings.Join(append([]string{""}, more...), ",") + `}`
}

func TestParseTask(t *testing.T) {
	task, err := contracts.ParseTask([]byte(taskJSON(`"outputs":["b","a"]`, `"config":null`)))
	if err != nil {
		t.Fatal(err)
	}
	want := &contracts.SimTask{Bundle: testBundle(t), Entrypoint: "models.sir/baseline", Seed: 42, Outputs: []string{"a", "b"},
		Params: contracts.TaskParams{ID: xID, Values: parseParams(t, `{"x":1.0}`)}}
	if diff := cmp.Diff(want, task); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if task, err := contracts.ParseTask([]byte(taskJSON(`"outputs":null`))); err != nil || task.Outputs != nil {
		t.Errorf("outputs = %v, %v", task, err)
	}
	s := parseStudy(t, study(`{"x":1.50,"s":"<é\u2028>"}`, `"resources":{"memory":"1Gi"}`, `"outputs":["z"]`, `"n_replicates":2`))
	for task := range s.Tasks(testBundle(t)) {
		data, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		var back contracts.SimTask
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(task, back); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
		if back.Key("sha256:"+hexA) != task.Key("sha256:"+hexA) {
			t.Error("the key differs")
		}
	}
}

func TestParseTaskRefused(t *testing.T) {
	for _, c := range []struct{ name, text, field, says string }{
		{"empty", `{}`, "bundle_ref", "(and 3 more problems)"},
		{"cut off", taskJSON()[:80], "", ""},
		{"tag", strings.Replace(taskJSON(), "@sha256:"+hexA, ":latest", 1), "bundle_ref", "a tag can move"},
		{"registry", strings.Replace(taskJSON(), "my-model", "evil.example.com/x", 1), "bundle_ref", "names a registry"},
		{"respelled", strings.Replace(taskJSON(), "1.0", "1", 1), "params.param_id", "1 and 1.0 are different"},
		{"list", strings.Replace(taskJSON(), "1.0", "[1]", 1), "params.values.x", "is a list"},
		{"no values", strings.Replace(taskJSON(), `"values"`, `"value"`, 1), "params.values", "is missing"},
		{"seed", strings.Replace(taskJSON(), `"seed":42`, `"seed":-1`, 1), "seed", "uint64"},
		{"seed text", strings.Replace(taskJSON(), `"seed":42`, `"seed":"42"`, 1), "seed", "not an integer"},
		{"outputs", taskJSON(`"outputs":{}`), "outputs", "not a list"},
		{"model", taskJSON(`"model":"models.seir"`, `"scenario":"baseline"`), "entrypoint", "models.seir/baseline"},
		{"replicate", taskJSON(`"replicate":-1`), "replicate", "at least 0"},
		{"key twice", taskJSON(`"seed":43`), "seed", "twice"},
		{"value twice", strings.Replace(taskJSON(), `{"x":1.0}`, `{"x":1.0,"x":1.0}`, 1), "params.values.x", "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := contracts.ParseTask([]byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			wantCode(t, err, contracts.CodeProtocol, c.says)
			problems := contracts.AsError(err).Problems
			if c.field != "" && !slices.ContainsFunc(problems, func(p contracts.Problem) bool { return p.Field == c.field }) {
				t.Errorf("no problem of %s: %+v", c.field, problems)
			}
		})
	}
}

func TestTaskKeyGolden(t *testing.T) {
	task, err := contracts.ParseTask([]byte(taskJSON(`"outputs":["b","a"]`)))
	if err != nil {
		t.Fatal(err)
	}
	const want = "84e684cd847476a0d59f5b2e00635ce2f0fefefd6614b841cdf9427082af71e2"
	if got := task.Key("sha256:" + hexA); got != want {
		t.Errorf("Key = %s, want %s: results that are stored under the old key would be lost", got, want)
	}
	if major, _, _ := strings.Cut(contracts.ContractVersion, "."); major != "1" {
		t.Error("a new major version of the contract is a new domain and a new number in the key")
	}
}

// What is not part of a task's identity does not change its key.
func TestTaskKeyIgnores(t *testing.T) {
	task, err := contracts.ParseTask([]byte(taskJSON(`"outputs":["b","a"]`)))
	if err != nil {
		t.Fatal(err)
	}
	key := task.Key("sha256:" + hexA)
	for name, change := range map[string]func(*contracts.SimTask){
		"repository":       func(t *contracts.SimTask) { t.Bundle.Repository = "other" },
		"bundle digest":    func(t *contracts.SimTask) { t.Bundle.Digest = contracts.DigestOf(nil) },
		"set":              func(t *contracts.SimTask) { t.Set = 9 },
		"replicate":        func(t *contracts.SimTask) { t.Replicate = 9 },
		"resources":        func(t *contracts.SimTask) { t.Resources = &contracts.Resources{Cores: 4} },
		"order of outputs": func(t *contracts.SimTask) { t.Outputs = []string{"b", "a", "b"} },
		"param_id":         func(t *contracts.SimTask) { t.Params.ID = "" },
	} {
		changed := *task
		change(&changed)
		if changed.Key("sha256:"+hexA) != key {
			t.Errorf("%s changes the key", name)
		}
	}
}

// randomTask draws from few values, so that tasks differ in little or nothing.
func randomTask(t *testing.T, random *rand.Rand) (contracts.SimTask, contracts.Digest) {
	t.Helper()
	word := func() string {
		letters := []rune("ab\"\\/|:,{}é0 \n")
		s := make([]rune, 1+random.IntN(4))
		for i := range s {
			s[i] = letters[random.IntN(len(letters))]
		}
		return string(s)
	}
	value := func() contracts.Value {
		n := random.IntN(3)
		float, err := contracts.FloatValue(float64(n))
		if err != nil {
			t.Fatal(err)
		}
		return []contracts.Value{contracts.IntValue(int64(n)), float, contracts.StringValue(fmt.Sprint(n)), contracts.BoolValue(n == 0), contracts.StringValue(word())}[random.IntN(5)]
	}
	task := contracts.SimTask{Entrypoint: word() + "/" + word(), Seed: random.Uint64N(3), Params: contracts.TaskParams{Values: contracts.Params{"typed": contracts.IntValue(int64(random.IntN(3)))}}}
	for range random.IntN(3) {
		task.Params.Values[word()] = value()
	}
	for range random.IntN(3) {
		task.Outputs = append(task.Outputs, word())
	}
	return task, contracts.DigestOf([]byte{byte(random.IntN(3))})
}

// taskIdentity is everything that a task's key is of, in another form.
func taskIdentity(t *testing.T, task contracts.SimTask, content contracts.Digest) string {
	t.Helper()
	params, err := json.Marshal(task.Params.Values)
	if err != nil {
		t.Fatal(err)
	}
	outputs := slices.Compact(slices.Sorted(slices.Values(task.Outputs)))
	return fmt.Sprintf("%s %q %q %d %s", content, task.Entrypoint, outputs, task.Seed, params)
}

// No two different tasks share a key: of random tasks that differ in little, each is
// compared with all others, and with seven that differ from it in one thing, a million
// such pairs in all.
func TestTaskKeyDistinguishes(t *testing.T) {
	changes := map[string]func(*contracts.SimTask, *contracts.Digest){
		"content":     func(_ *contracts.SimTask, d *contracts.Digest) { *d = contracts.DigestOf([]byte(*d)) },
		"entry point": func(t *contracts.SimTask, _ *contracts.Digest) { t.Entrypoint += "x" },
		"seed":        func(t *contracts.SimTask, _ *contracts.Digest) { t.Seed++ },
		"outputs": func(t *contracts.SimTask, _ *contracts.Digest) {
			t.Outputs = append(slices.Clone(t.Outputs), "new output")
		},
		"new parameter": func(t *contracts.SimTask, _ *contracts.Digest) {
			t.Params.Values["new parameter"] = contracts.IntValue(0)
		},
		"type": func(t *contracts.SimTask, _ *contracts.Digest) {
			t.Params.Values["typed"] = contracts.StringValue(t.Params.Values["typed"].Text())
		},
		"value": func(t *contracts.SimTask, _ *contracts.Digest) {
			t.Params.Values["typed"] = contracts.IntValue(1 << 40)
		},
	}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]string{}
	for range 1_000_000 / len(changes) {
		task, content := randomTask(t, random)
		identity := taskIdentity(t, task, content)
		key := task.Key(content)
		if other, there := seen[key]; there && other != identity {
			t.Fatalf("one key for two tasks:\n%s\n%s", identity, other)
		}
		seen[key] = identity
		for name, change := range changes {
			changed, digest := task, content
			changed.Params.Values = contracts.Params{}
			for k, v := range task.Params.Values {
				changed.Params.Values[k] = v
			}
			change(&changed, &digest)
			if changed.Key(digest) == key {
				t.Fatalf("%s does not change the key of %s", name, identity)
			}
		}
	}
}
