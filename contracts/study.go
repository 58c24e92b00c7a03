package contracts

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
)

// SimulationStudy is a study file: which parameter sets of which model to run, and
// how often. It is the Python suite's, with resources added.
type SimulationStudy struct {
	Model          string // an import path for Python bundles; what a command bundle makes of it otherwise
	Scenario       string
	ParameterSets  []ParameterSet
	SamplingMethod string // "manual" unless the study says otherwise
	Replicates     int    // n_replicates: runs of each set that states no seed; at least 1
	Outputs        []string
	Targets        []string
	Resources      *Resources
	Metadata       map[string]any // numbers are json.Number
	Warnings       []Problem      // keys that have no effect
}

// ParameterSet is one set of parameters. With a seed it is run once, with that seed;
// without, it is run n_replicates times with derived seeds.
type ParameterSet struct {
	Params Params
	Seed   *uint64
}

// maxTasks bounds a study: every count fits an int32.
const maxTasks = math.MaxInt32

// ParseStudy reads a study. The error is an [Error] with every problem, of
// [CodeInvalidStudy], or of [CodeUnsupported] for a CalibrationSpec. Unknown keys are
// ignored, as the Python suite does, and reported in Warnings. file only names the
// document in messages.
func ParseStudy(file string, data []byte) (*SimulationStudy, error) {
	v, problem := parseJSON(data)
	if problem != nil {
		return nil, documentError(CodeInvalidStudy, StageStudy, "study", file, []Problem{*problem})
	}
	problems := &problemList{}
	m := readMapping(v, "", problems)
	if m != nil {
		if reason := calibrationReason(m); reason != "" {
			return nil, &Error{Code: CodeUnsupported, Stage: StageStudy,
				Message: "study " + Quote(file) + " is a CalibrationSpec (" + reason + "); only a SimulationStudy is supported",
				Hint:    "run it with the Python suite, or write a study of parameter sets with mops study"}
		}
	}
	var study *SimulationStudy
	if m != nil {
		study = readStudy(m)
	}
	if err := problems.err(CodeInvalidStudy, StageStudy, "study", file); err != nil {
		return nil, err
	}
	return study, nil
}

// calibrationReason tells a calibration from a study in the order that the Python
// suite looks at the keys.
func calibrationReason(m *mapping) string {
	kind, there := m.get("kind")
	switch {
	case there && kind.kind == KindString:
		if kind.text == "CalibrationSpec" {
			return "kind"
		}
		return ""
	case m.present("algorithm"):
		return "it has the key algorithm"
	case m.present("parameter_sets"):
		return ""
	}
	if target, there := m.get("target_data"); there && target.kind == KindMap {
		for _, member := range target.Members() {
			if member.Key == "observed_file" {
				return "it has target_data.observed_file"
			}
		}
	}
	if !m.present("sampling_method") && m.present("max_iterations") && m.present("algorithm_config") {
		return "it has max_iterations and algorithm_config"
	}
	return ""
}

func (m *mapping) present(key string) bool {
	_, there := m.get(key)
	return there
}

func readStudy(m *mapping) *SimulationStudy {
	m.known = map[string]bool{} // the keys of a calibration are not a study's
	if kind := m.text("kind"); kind != "" && kind != "SimulationStudy" {
		m.problems.add("kind", "is "+Quote(kind), "it is SimulationStudy, or left out")
	}
	m.require("every study has it", "model", "scenario", "parameter_sets")
	s := &SimulationStudy{
		Model:          m.text("model"),
		Scenario:       m.text("scenario"),
		ParameterSets:  readParameterSets(m),
		SamplingMethod: m.text("sampling_method"),
		Replicates:     int(m.integer("n_replicates", 1, 1)),
		Outputs:        m.texts("outputs"),
		Targets:        m.texts("targets"),
		Resources:      readResources(m),
	}
	if s.SamplingMethod == "" {
		s.SamplingMethod = "manual"
	}
	if strings.Contains(s.Scenario, "/") {
		m.problems.add("scenario", "is "+Quote(s.Scenario)+" and has a /", "a scenario has none; put it into model")
	}
	if sorted := sortedSet(s.Outputs); len(sorted) < len(s.Outputs) {
		m.problems.add("outputs", "names an output twice", "keep one of the two")
	}
	s.Metadata = map[string]any{}
	if metadata := m.sub("metadata"); metadata != nil {
		s.Metadata, _ = mapValue(metadata.members).plain().(map[string]any)
	}
	s.Warnings = m.warnings(m.rest(), "leave it out")
	if total, fits := s.count(); !fits || total > maxTasks {
		m.problems.add("n_replicates", "makes more than "+strconv.Itoa(maxTasks)+" tasks", "split the study")
	}
	return s
}

func readParameterSets(m *mapping) []ParameterSet {
	v, there := m.get("parameter_sets")
	if !there {
		return nil
	}
	if v.kind != KindList {
		m.problems.add("parameter_sets", "is "+v.kind.String()+", not a list", `write [{"params": {"beta": 0.1}}]`)
		return nil
	}
	sets := make([]ParameterSet, len(v.Items()))
	for i, item := range v.Items() {
		sets[i] = readParameterSet(item, "parameter_sets."+strconv.Itoa(i), m.problems)
	}
	return sets
}

// readParameterSet reads both forms: {"params": {…}, "seed": n}, and the older plain
// mapping of parameters. A mapping is the newer form when it has the key params with
// a mapping in it and no other key than seed.
func readParameterSet(v Value, field string, problems *problemList) ParameterSet {
	if v.kind != KindMap {
		problems.add(field, "is "+v.kind.String()+", not a mapping", `write {"params": {"beta": 0.1}}`)
		return ParameterSet{}
	}
	set := ParameterSet{Params: paramsOf(v)}
	if inner, isNew := newForm(v); isNew {
		set.Params = paramsOf(inner)
		set.Seed = readSeed(readMapping(v, field, problems))
		field += ".params"
	}
	checkParams(set.Params, field, problems.add)
	return set
}

func newForm(v Value) (params Value, isNew bool) {
	for _, member := range v.Members() {
		switch {
		case member.Key == "params" && member.Value.kind == KindMap:
			params, isNew = member.Value, true
		case member.Key != "seed":
			return Value{}, false
		}
	}
	return params, isNew
}

// Entrypoint is what the tasks of the study call: model + "/" + scenario.
func (s *SimulationStudy) Entrypoint() string { return s.Model + "/" + s.Scenario }

// CheckPython reports what a bundle of Python code could not be called by: a model
// that is no import path, a scenario or targets outside the Python suite's grammar.
// A command bundle gets the names as they are and is not asked. The error is an
// [Error] with [CodeInvalidStudy].
func (s *SimulationStudy) CheckPython() error {
	problems := &problemList{}
	if !modulePattern().MatchString(s.Model) {
		problems.add("model", "is "+Quote(s.Model)+", not an import path", moduleHint)
	}
	if !scenarioPattern().MatchString(s.Scenario) {
		problems.add("scenario", "is "+Quote(s.Scenario), scenarioHint)
	}
	for i, target := range s.Targets {
		if e, err := ParseEntrypoint(target); err != nil || e.Object == "" {
			problems.add("targets."+strconv.Itoa(i), "is "+Quote(target), "a target is import.path:name")
		}
		if slices.Contains(s.Targets[:i], target) {
			problems.add("targets."+strconv.Itoa(i), "is "+Quote(target)+", which is there already", "keep one of the two")
		}
	}
	return problems.err(CodeInvalidStudy, StageStudy, "study", "")
}

// ReplicatesOf is the number of runs of a parameter set.
func (s *SimulationStudy) ReplicatesOf(set int) int {
	if s.ParameterSets[set].Seed != nil {
		return 1
	}
	return s.Replicates
}

// TaskCount is the number of tasks of the study.
func (s *SimulationStudy) TaskCount() int {
	total, _ := s.count()
	return int(total)
}

// count is exact for a study of any size; false when it does not fit.
func (s *SimulationStudy) count() (int64, bool) {
	explicit := int64(0)
	for _, set := range s.ParameterSets {
		if set.Seed != nil {
			explicit++
		}
	}
	return int64Sum(int64(len(s.ParameterSets))-explicit, int64(s.Replicates), explicit)
}

// Tasks are the study's tasks against one bundle, in the study's order, the
// replicates of a set from 0. They are made as they are asked for; the tasks of one
// set share its parameters, and all share the outputs and resources.
func (s *SimulationStudy) Tasks(bundle BundleRef) iter.Seq[SimTask] {
	return func(yield func(SimTask) bool) {
		task := SimTask{
			Bundle: bundle, Entrypoint: s.Entrypoint(), Model: s.Model, Scenario: s.Scenario,
			Outputs: sortedSet(s.Outputs), Resources: s.Resources,
		}
		for i, set := range s.ParameterSets {
			task.Set = i
			task.Params = TaskParams{ID: set.Params.ID(), Values: set.Params}
			for task.Replicate = range s.ReplicatesOf(i) {
				if set.Seed != nil {
					task.Seed = *set.Seed
				} else {
					task.Seed = ReplicateSeed(task.Params.ID, task.Replicate)
				}
				if !yield(task) {
					return
				}
			}
		}
	}
}

// MarshalJSON writes as [SimulationStudy.Marshal] does.
func (s *SimulationStudy) MarshalJSON() ([]byte, error) { return s.Marshal() }

// UnmarshalJSON reads as [ParseStudy] does.
func (s *SimulationStudy) UnmarshalJSON(data []byte) error {
	study, err := ParseStudy("", data)
	if err != nil {
		return err
	}
	*s = *study
	return nil
}

// Marshal writes the study in the newer form, one parameter set per line. What
// [ParseStudy] would refuse is refused.
func (s *SimulationStudy) Marshal() ([]byte, error) {
	out, err := s.appendJSON([]byte("{\n"))
	if err != nil {
		return nil, err
	}
	if _, err := ParseStudy("", out); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *SimulationStudy) appendJSON(b []byte) ([]byte, error) {
	text := func(key, value string) {
		b = append(appendCanonicalString(append(b, ' ', ' '), key), ": "...)
		b = append(appendCanonicalString(b, value), ",\n"...)
	}
	text("model", s.Model)
	text("scenario", s.Scenario)
	b = append(b, "  \"parameter_sets\": ["...)
	for i, set := range s.ParameterSets {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n    {\"params\": "...)
		b = set.Params.appendCanonical(b)
		if set.Seed != nil {
			b = strconv.AppendUint(append(b, ", \"seed\": "...), *set.Seed, 10)
		}
		b = append(b, '}')
	}
	if len(s.ParameterSets) > 0 {
		b = append(b, "\n  "...)
	}
	b = append(b, "],\n"...)
	sampling := s.SamplingMethod
	if sampling == "" {
		sampling = "manual"
	}
	text("sampling_method", sampling)
	b = append(b, "  \"n_replicates\": "...)
	b = strconv.AppendInt(b, int64(max(s.Replicates, 1)), 10)
	return s.appendRest(b)
}

// appendRest writes the keys that encoding/json can write.
func (s *SimulationStudy) appendRest(b []byte) ([]byte, error) {
	metadata := s.Metadata
	if metadata == nil {
		metadata = map[string]any{}
	}
	rest := []struct {
		key   string
		value any
	}{{"outputs", slices.Clone(s.Outputs)}, {"targets", slices.Clone(s.Targets)}, {"resources", s.Resources}, {"metadata", metadata}}
	for _, field := range rest {
		if field.key == "resources" && s.Resources == nil {
			continue
		}
		data, err := marshalPlain(field.value)
		if err != nil {
			return nil, &Error{Code: CodeInvalidStudy, Stage: StageStudy, Message: "study: " + field.key + ": " + err.Error()}
		}
		b = append(append(b, ",\n  \""+field.key+"\": "...), data...)
	}
	return append(b, "\n}\n"...), nil
}
