package contracts

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Resources are what one task needs of the machine it runs on. Zero values ask for
// nothing.
type Resources struct {
	Memory   string   `json:"memory,omitempty"`   // as in 512Mi or 2GB; see [Resources.MemoryBytes]
	Cores    int      `json:"cores,omitempty"`    // at least 1 when it is given
	Timeout  string   `json:"timeout,omitempty"`  // as in 90s or 1h30m, or a number of seconds
	Commands []string `json:"commands,omitempty"` // programs that must be on the worker's PATH
}

// SimTask is one run of a simulation: one parameter set, one seed. As JSON it is what
// a worker reads.
//
// With replicates it is the evaluation of a target over the results of one parameter
// set: Entrypoint is the target, import.path:name, and the seed is of no meaning.
type SimTask struct {
	Bundle     BundleRef  `json:"bundle_ref"`
	Entrypoint string     `json:"entrypoint"` // model + "/" + scenario
	Params     TaskParams `json:"params"`
	Seed       uint64     `json:"seed"`
	Outputs    []string   `json:"outputs"` // sorted; null for all
	Model      string     `json:"model,omitempty"`
	Scenario   string     `json:"scenario,omitempty"`
	Resources  *Resources `json:"resources,omitempty"`
	Set        int        `json:"set"`       // index of the parameter set in the study; no part of the key
	Replicate  int        `json:"replicate"` // from 0; no part of the key

	// Replicates makes the task an evaluation: the set's results, in replicate order.
	Replicates []Replicate `json:"replicates,omitempty"`
}

// TaskParams are a task's parameters with their identifier.
type TaskParams struct {
	ID     string `json:"param_id"`
	Values Params `json:"values"`
}

// taskDomain separates this hash from every other. The number, and the one that is
// hashed, are the major number of [ContractVersion].
const taskDomain = "modelops:task:v1|"

// Key identifies what a task computes, and so its result: 64 hexadecimal digits of
// BLAKE2b-256 over the content digest of the bundle, the entry point, the parameters
// with their types, the seed, the sorted names of the outputs and the contract's
// major version. The repository and the job are not in it: the same content gives the
// same result wherever it lies and whoever asks. That of an evaluation is [EvaluationKey].
func (t *SimTask) Key(content Digest) string {
	if t.Evaluates() {
		return EvaluationKey(content, t.Entrypoint, t.replicateKeys())
	}
	b := append(make([]byte, 0, 512), taskDomain...)
	b = append(b, `{"content":`...)
	b = appendCanonicalString(b, string(content))
	b = append(b, `,"contract":1,"entrypoint":`...)
	b = appendCanonicalString(b, t.Entrypoint)
	b = append(b, `,"outputs":`...)
	b = appendOutputs(b, t.Outputs)
	b = append(b, `,"params":`...)
	b = t.Params.Values.appendCanonical(b)
	b = append(b, `,"seed":`...)
	b = strconv.AppendUint(b, t.Seed, 10)
	return blake2b256(append(b, '}'))
}

func appendOutputs(b []byte, outputs []string) []byte {
	if len(outputs) == 0 {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, name := range sortedSet(outputs) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCanonicalString(b, name)
	}
	return append(b, ']')
}

// sortedSet is names in order, each once; nil for none.
func sortedSet(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	if slices.IsSorted(names) && len(slices.Compact(slices.Clone(names))) == len(names) {
		return names
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// ParseTask reads a task. Parameters must have the identifier that they are sent
// with: a task whose numbers were respelled on the way is not the task that was
// submitted. Unknown keys are ignored. The error is an [Error] with [CodeProtocol]
// and every problem.
func ParseTask(data []byte) (*SimTask, error) {
	v, problem := parseJSON(data)
	if problem != nil {
		return nil, documentError(CodeProtocol, StagePrepare, "task", "", []Problem{*problem})
	}
	problems := &problemList{}
	task := readTask(v, problems)
	if err := problems.err(CodeProtocol, StagePrepare, "task", ""); err != nil {
		return nil, err
	}
	return task, nil
}

// UnmarshalJSON reads as [ParseTask] does.
func (t *SimTask) UnmarshalJSON(data []byte) error {
	task, err := ParseTask(data)
	if err != nil {
		return err
	}
	*t = *task
	return nil
}

func readTask(v Value, problems *problemList) *SimTask {
	m := readMapping(v, "", problems)
	if m == nil {
		return nil
	}
	m.require("", "bundle_ref", "entrypoint", "params", "seed")
	t := &SimTask{
		Entrypoint: m.text("entrypoint"),
		Outputs:    sortedSet(m.texts("outputs")),
		Model:      m.text("model"),
		Scenario:   m.text("scenario"),
		Resources:  readResources(m),
		Set:        int(m.integer("set", 0, 0)),
		Replicate:  int(m.integer("replicate", 0, 0)),
		Replicates: readReplicates(m),
	}
	if s := m.text("bundle_ref"); s != "" {
		ref, err := ParseBundleRef(s)
		if err != nil {
			e := AsError(err)
			problems.add("bundle_ref", "is no bundle reference: "+e.Message, e.Hint)
		}
		t.Bundle = ref
	}
	if seed := readSeed(m); seed != nil {
		t.Seed = *seed
	}
	if params := m.sub("params"); params != nil {
		t.Params = readTaskParams(params)
	}
	if t.Model != "" && t.Scenario != "" && t.Entrypoint != "" && t.Entrypoint != t.Model+"/"+t.Scenario {
		problems.add("entrypoint", "is not model/scenario", "write "+Quote(t.Model+"/"+t.Scenario))
	}
	return t
}

func readTaskParams(m *mapping) TaskParams {
	m.require("", "param_id", "values")
	p := TaskParams{ID: m.text("param_id")}
	values := m.sub("values")
	if values == nil {
		return p
	}
	p.Values = paramsOf(mapValue(values.members))
	checkParams(p.Values, "params.values", m.problems.add)
	if id := p.Values.ID(); p.ID != "" && p.ID != id {
		m.problems.add("params.param_id", "is "+Quote(p.ID)+"; these values have "+id, "send numbers as they were written: 1 and 1.0 are different")
	}
	return p
}

// readSeed reads an unsigned integer of 64 bits; nil when it is absent or broken.
func readSeed(m *mapping) *uint64 {
	v, there := m.get("seed")
	if !there {
		return nil
	}
	const hint = "a seed is an integer from 0 to 18446744073709551615"
	if v.kind != KindInt {
		m.problems.add(m.field+"seed", "is "+v.kind.String()+", not an integer", hint)
		return nil
	}
	seed, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil {
		m.problems.add(m.field+"seed", "is "+Quote(v.text)+", out of uint64 range", hint)
		return nil
	}
	return &seed
}

// readResources reads the key "resources" of m; nil when it is absent.
func readResources(m *mapping) *Resources { return resourcesOf(m.sub("resources")) }

// resourcesOf reads the resources that sub is; nil when it is.
func resourcesOf(sub *mapping) *Resources {
	if sub == nil {
		return nil
	}
	r := &Resources{
		Memory:   sub.textOrNumber("memory"),
		Cores:    int(sub.integer("cores", 1, 0)),
		Timeout:  sub.textOrNumber("timeout"),
		Commands: sub.texts("commands"),
	}
	if _, err := r.MemoryBytes(); err != nil {
		sub.problems.add(sub.field+"memory", "is "+Quote(r.Memory), "write a size, as in 512Mi or 2GB")
	}
	if _, err := r.TimeoutDuration(); err != nil {
		sub.problems.add(sub.field+"timeout", "is "+Quote(r.Timeout), "write a duration, as in 90s or 1h30m, or a number of seconds")
	}
	for i, command := range r.Commands {
		if strings.ContainsAny(command, `/\ `) || strings.HasPrefix(command, "-") {
			sub.problems.add(sub.field+"commands."+strconv.Itoa(i), "is "+Quote(command), "write a program's name alone, as in Rscript")
		}
	}
	for _, member := range sub.rest() {
		sub.problems.add(sub.field+fieldKey(member.Key), "is not a resource", "resources are memory, cores, timeout and commands")
	}
	return r
}

// textOrNumber reads a string, or a number as it is written.
func (m *mapping) textOrNumber(key string) string {
	if v, there := m.get(key); there && (v.kind == KindInt || v.kind == KindFloat) {
		return v.text
	}
	return m.text(key)
}

var memoryPattern = pattern(`\A([0-9]{1,15})(\.[0-9]{1,9})? ?(|[kKMGT]i?)B?\z`)

// MemoryBytes is Memory in bytes, 0 when it is not given. Ki, Mi, Gi and Ti count by
// 1024, k, M, G and T by 1000.
func (r Resources) MemoryBytes() (int64, error) {
	if r.Memory == "" {
		return 0, nil
	}
	match := memoryPattern().FindStringSubmatch(r.Memory)
	if match == nil {
		return 0, r.invalid("memory", r.Memory)
	}
	size, _ := new(big.Rat).SetString(match[1] + match[2])
	base := int64(1000)
	if strings.HasSuffix(match[3], "i") {
		base = 1024
	}
	if match[3] != "" {
		for range 1 + strings.IndexByte("KMGT", strings.ToUpper(match[3])[0]) {
			size.Mul(size, new(big.Rat).SetInt64(base))
		}
	}
	bytes := new(big.Int).Quo(size.Num(), size.Denom())
	if !bytes.IsInt64() || bytes.Sign() <= 0 {
		return 0, r.invalid("memory", r.Memory)
	}
	return bytes.Int64(), nil
}

// TimeoutDuration is Timeout, 0 when it is not given.
func (r Resources) TimeoutDuration() (time.Duration, error) {
	if r.Timeout == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(r.Timeout)
	if err != nil {
		seconds, numberErr := strconv.ParseFloat(r.Timeout, 64)
		if numberErr != nil || math.IsNaN(seconds) || seconds > float64(math.MaxInt64/time.Second) {
			return 0, r.invalid("timeout", r.Timeout)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d <= 0 {
		return 0, r.invalid("timeout", r.Timeout)
	}
	return d, nil
}

func (r Resources) invalid(key, value string) error {
	return &Error{Code: CodeInvalidStudy, Stage: StageStudy, Message: "resources." + key + " is " + Quote(value),
		Hint: "write memory as in 512Mi, timeout as in 90s"}
}

// MarshalJSON writes the task with its outputs sorted.
func (t SimTask) MarshalJSON() ([]byte, error) {
	type plain SimTask
	t.Outputs = sortedSet(t.Outputs)
	return json.Marshal(plain(t))
}
