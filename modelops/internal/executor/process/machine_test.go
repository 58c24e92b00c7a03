package process

import (
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

func TestMachine(t *testing.T) {
	laptop := Machine{Cores: 8, Memory: 16 << 30} // 1.6 GiB of it are kept back
	for name, test := range map[string]struct {
		machine Machine
		needs   contracts.Resources
		stated  int
		want    int      // at once
		says    []string // when it is refused
	}{
		"nothing said":              {machine: laptop, want: 8},
		"cores":                     {machine: laptop, needs: contracts.Resources{Cores: 3}, want: 2},
		"memory":                    {machine: laptop, needs: contracts.Resources{Memory: "4Gi"}, want: 3},
		"memory and cores":          {machine: laptop, needs: contracts.Resources{Memory: "2Gi", Cores: 4}, want: 2},
		"little memory":             {machine: laptop, needs: contracts.Resources{Memory: "1Mi"}, want: 8},
		"all that there is":         {machine: laptop, needs: contracts.Resources{Memory: "16Gi", Cores: 8}, want: 1},
		"stated":                    {machine: laptop, needs: contracts.Resources{Memory: "4Gi"}, stated: 20, want: 20},
		"memory unknown":            {machine: Machine{Cores: 4}, needs: contracts.Resources{Memory: "900T"}, want: 4},
		"too many cores":            {machine: laptop, needs: contracts.Resources{Cores: 9}, says: []string{"needs 9 cores", "has 8"}},
		"too much memory":           {machine: laptop, needs: contracts.Resources{Memory: "20Gi"}, says: []string{"needs 20 GiB", "has 16 GiB"}},
		"too much, whatever stated": {machine: laptop, needs: contracts.Resources{Cores: 9}, stated: 1, says: []string{"9", "8"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.machine.Check(test.needs)
			if test.says == nil {
				got := test.machine.Processes(&jobs.Job{Resources: test.needs, Options: jobs.Options{Processes: test.stated}})
				if got != test.want || err != nil {
					t.Errorf("%d at once, %v; want %d", got, err, test.want)
				}
				return
			}
			for _, want := range test.says {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}
