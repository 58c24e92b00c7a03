package jobs

import (
	"iter"

	"github.com/modelops-suite/modelops-go/contracts"
)

// ReplicateSet is a parameter set of a job with those of its replicates that are the
// job's.
type ReplicateSet struct {
	Tasks    []contracts.SimTask // the replicates, from 0; they share what a set has
	Keys     []string            // of the tasks
	Complete bool                // no replicate is left out by the job's limit
}

// Evaluation is the set's evaluation by a target, over these results, one for each
// replicate.
func (s ReplicateSet) Evaluation(target string, results []contracts.Replicate) contracts.SimTask {
	first := s.Tasks[0]
	return contracts.SimTask{Bundle: first.Bundle, Entrypoint: target, Params: first.Params, Resources: first.Resources, Set: first.Set, Replicates: results}
}

// Sets are the job's parameter sets in the study's order, made as they are asked for.
func (j *Job) Sets(study *contracts.SimulationStudy) iter.Seq[ReplicateSet] {
	return func(yield func(ReplicateSet) bool) {
		var set ReplicateSet
		for task := range j.SimTasks(study) {
			set.Tasks = append(set.Tasks, task)
			set.Keys = append(set.Keys, task.Key(j.Content))
			if len(set.Tasks) < study.ReplicatesOf(task.Set) {
				continue
			}
			set.Complete = true
			if !yield(set) {
				return
			}
			set = ReplicateSet{}
		}
		if len(set.Tasks) > 0 {
			yield(set)
		}
	}
}

// CountEvaluations is how often the study's targets are evaluated: once for each
// parameter set whose replicates are all among the first so many tasks.
func CountEvaluations(study *contracts.SimulationStudy, tasks int) int {
	if len(study.Targets) == 0 {
		return 0
	}
	sets := 0
	for i := range study.ParameterSets {
		if tasks -= study.ReplicatesOf(i); tasks < 0 {
			break
		}
		sets++
	}
	return sets * len(study.Targets)
}
