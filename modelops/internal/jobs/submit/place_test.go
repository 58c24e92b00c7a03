package submit

import (
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestPlaces(t *testing.T) {
	scheduler := &contracts.Compute{Scheduler: "tcp://scheduler:8786"}
	cluster := &contracts.Compute{Kubernetes: &contracts.ComputeKubernetes{Namespace: "modelops-dask-dev"}}
	both := &contracts.Compute{Scheduler: scheduler.Scheduler, Kubernetes: cluster.Kubernetes}
	for _, tc := range []struct {
		compute                            *contracts.Compute
		executor, driver, atWork, drivenAt string
	}{
		{nil, "", "", "process", "local"},
		{nil, "", "kubernetes", "process", "kubernetes"}, // refused: there is no cluster
		{scheduler, "", "", "dask", "local"},
		{scheduler, "process", "", "process", "local"},
		{cluster, "", "", "dask", "kubernetes"},
		{cluster, "", "local", "process", "local"},
		{cluster, "process", "", "process", "local"},
		{cluster, "process", "kubernetes", "process", "kubernetes"},
		{both, "", "", "dask", "kubernetes"},
		{both, "", "local", "dask", "local"},
		{both, "dask", "", "dask", "kubernetes"},
	} {
		executor, driver := Places(&contracts.BundleEnvironment{Compute: tc.compute}, tc.executor, tc.driver)
		if executor != tc.atWork || driver != tc.drivenAt {
			t.Errorf("%+v, executor %q, driver %q: %s and %s, want %s and %s", tc.compute, tc.executor, tc.driver, executor, driver, tc.atWork, tc.drivenAt)
		}
	}
}
