package contracts

import "strconv"

// Replicate is what one run of a parameter set answered, as the evaluation of a target
// reads it.
type Replicate struct {
	Task    string              `json:"task_id"` // [SimTask.Key] of the run
	Outputs map[string]Artifact `json:"outputs"`
}

// Evaluation is what a target says about the replicates of a parameter set.
type Evaluation struct {
	Loss        float64            `json:"loss"`                  // finite
	Diagnostics map[string]float64 `json:"diagnostics,omitempty"` // further numbers, finite
	Replicates  int                `json:"n_replicates"`          // that it was computed from
}

// evaluationDomain separates this hash from every other, as taskDomain does.
const evaluationDomain = "modelops:evaluation:v1|"

// EvaluationKey identifies what a target says about the runs with these keys, in
// replicate order: 64 hexadecimal digits of BLAKE2b-256 over the content digest, the
// target, the keys and the contract's major version.
func EvaluationKey(content Digest, target string, tasks []string) string {
	b := append(make([]byte, 0, 256+70*len(tasks)), evaluationDomain...)
	b = append(b, `{"content":`...)
	b = appendCanonicalString(b, string(content))
	b = append(b, `,"contract":1,"replicates":[`...)
	for i, task := range tasks {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCanonicalString(b, task)
	}
	b = append(b, `],"target":`...)
	b = appendCanonicalString(b, target)
	return blake2b256(append(b, '}'))
}

// Evaluates says whether the task is the evaluation of a target, and no simulation.
func (t *SimTask) Evaluates() bool { return len(t.Replicates) > 0 }

func (t *SimTask) replicateKeys() []string {
	keys := make([]string, len(t.Replicates))
	for i, r := range t.Replicates {
		keys[i] = r.Task
	}
	return keys
}

// readReplicates reads what makes a task an evaluation; nil for a simulation.
func readReplicates(m *mapping) []Replicate {
	v, there := m.get("replicates")
	if !there {
		return nil
	}
	if v.kind != KindList || len(v.Items()) == 0 {
		m.problems.add("replicates", "is "+v.kind.String()+", or empty", "an evaluation has a list of at least one replicate; a simulation has none")
		return nil
	}
	if e, err := ParseEntrypoint(m.text("entrypoint")); err != nil || e.Object == "" {
		m.problems.add("entrypoint", "is "+Quote(m.text("entrypoint")), "a target is import.path:name")
	}
	replicates := make([]Replicate, len(v.Items()))
	for i, item := range v.Items() {
		field := "replicates." + strconv.Itoa(i)
		sub := readMapping(item, field, m.problems)
		if sub == nil {
			continue
		}
		sub.require("", "task_id", "outputs")
		replicates[i] = Replicate{Task: sub.text("task_id"), Outputs: readOutputs(sub)}
		if key := replicates[i].Task; key != "" && !isHash(key) {
			m.problems.add(field+".task_id", "is "+Quote(key)+", not a task key", "64 lower-case hexadecimal digits")
		}
	}
	return replicates
}

// readOutputs reads the key "outputs" of m; empty when it is absent.
func readOutputs(m *mapping) map[string]Artifact {
	outputs := map[string]Artifact{}
	sub := m.sub("outputs")
	if sub == nil {
		return outputs
	}
	for _, member := range sub.members {
		field := sub.field + fieldKey(member.Key)
		if artifact := readMapping(member.Value, field, m.problems); artifact != nil {
			outputs[member.Key] = readArtifact(artifact, field)
		}
	}
	return outputs
}

func readEvaluation(m *mapping) *Evaluation {
	m.require("", "loss", "n_replicates")
	e := &Evaluation{Loss: m.number("loss"), Replicates: int(m.integer("n_replicates", 1, 1))}
	if diagnostics := m.sub("diagnostics"); diagnostics != nil {
		e.Diagnostics = map[string]float64{}
		for _, member := range diagnostics.members {
			if _, there := diagnostics.get(member.Key); there {
				e.Diagnostics[member.Key] = diagnostics.number(member.Key)
			}
		}
	}
	return e
}
