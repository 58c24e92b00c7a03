package contracts

import (
	"fmt"
	"slices"
)

// Over is what a task needs that asks for r and runs in a bundle that asks for bundle:
// r's own words where it has any, the bundle's elsewhere, and the commands of both,
// sorted. Both may be nil.
func (r *Resources) Over(bundle *Resources) Resources {
	var all Resources
	for _, asked := range []*Resources{bundle, r} {
		if asked == nil {
			continue
		}
		if asked.Memory != "" {
			all.Memory = asked.Memory
		}
		if asked.Cores > 0 {
			all.Cores = asked.Cores
		}
		if asked.Timeout != "" {
			all.Timeout = asked.Timeout
		}
		all.Commands = append(all.Commands, asked.Commands...)
	}
	slices.Sort(all.Commands)
	all.Commands = slices.Compact(all.Commands)
	return all
}

// ParseResources reads resources from JSON. The error is an [Error] with
// [CodeInvalidStudy] and every problem.
func ParseResources(data []byte) (*Resources, error) {
	const what = "resources"
	v, problem := parseJSON(data)
	if problem != nil {
		return nil, documentError(CodeInvalidStudy, StageStudy, what, "", []Problem{*problem})
	}
	problems := &problemList{}
	r := resourcesOf(readMapping(v, "", problems))
	if err := problems.err(CodeInvalidStudy, StageStudy, what, ""); err != nil {
		return nil, err
	}
	return r, nil
}

// FormatMemory writes a number of bytes for people, as in 512 MiB or 1.5 GiB.
func FormatMemory(bytes int64) string {
	const step = 1024
	size, unit := float64(bytes), "bytes"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size < step {
			break
		}
		size, unit = size/step, larger
	}
	if size < 10 && size != float64(int64(size)) {
		return fmt.Sprintf("%.1f %s", size, unit)
	}
	return fmt.Sprintf("%.0f %s", size, unit)
}
