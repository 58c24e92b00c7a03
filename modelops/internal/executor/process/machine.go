package process

import (
	"fmt"
	"runtime"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/machine"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

// Machine is what a machine has for tasks.
type Machine struct {
	Cores  int
	Memory int64 // bytes; 0 when that is not known
}

// ThisMachine is what this process may use of its machine: the limits of its control
// group and its CPU affinity count.
func ThisMachine() Machine { return Machine{Cores: runtime.GOMAXPROCS(0), Memory: machine.Memory()} }

// reserve is the memory that is left to the system, the driver and the workers, in bytes.
func (m Machine) reserve() int64 { return min(m.Memory/10, 4<<30) }

// Check is nil when the machine can run a task that needs r, and else an error that names
// both numbers.
func (m Machine) Check(r contracts.Resources) error {
	memory, err := r.MemoryBytes()
	if err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return &contracts.Error{Code: contracts.CodeUnsupported, Stage: contracts.StageSubmit, Message: fmt.Sprintf(format, args...),
			Hint: "lower resources in the study, which come before those of the bundle's .modelops/manifest.json, or use a larger machine"}
	}
	switch {
	case r.Cores > m.Cores:
		return refuse("a task needs %s, and this machine has %d", contracts.Count(r.Cores, "core", "cores"), m.Cores)
	case m.Memory > 0 && memory > m.Memory:
		return refuse("a task needs %s of memory, and this machine has %s", contracts.FormatMemory(memory), contracts.FormatMemory(m.Memory))
	}
	return nil
}

// AtOnce is how many tasks that need r fit the machine together, by cores and by memory;
// at least 1. A task that does not say needs one core, and no memory worth counting.
func (m Machine) AtOnce(r contracts.Resources) int {
	fit := m.Cores / max(1, r.Cores)
	if memory, err := r.MemoryBytes(); err == nil && memory > 0 && m.Memory > 0 {
		fit = int(min(int64(fit), (m.Memory-m.reserve())/memory))
	}
	return max(1, fit)
}

// Processes is how many tasks of the job run at once: what its options say, or as many
// as fit.
func (m Machine) Processes(job *jobs.Job) int {
	if stated := job.Options.Processes; stated > 0 {
		return stated
	}
	return m.AtOnce(job.Resources)
}
