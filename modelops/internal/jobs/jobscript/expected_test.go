//go:build unix

package jobscript

import (
	"fmt"

	"github.com/modelops-suite/modelops-go/contracts"
)

// expected is "param_id seed replicate" for each row of a study.
func expected(study string) ([]string, error) {
	s, err := contracts.ParseStudy("", []byte(study))
	if err != nil {
		return nil, err
	}
	ref := contracts.BundleRef{Repository: "m", Digest: contracts.DigestOf(nil)}
	var rows []string
	for task := range s.Tasks(ref) {
		rows = append(rows, fmt.Sprintf("%s %d %d", task.Params.ID, task.Seed, task.Replicate))
	}
	return rows, nil
}
