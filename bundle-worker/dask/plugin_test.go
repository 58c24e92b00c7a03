package dask

import (
	"os/exec"
	"testing"
)

// What the plugin does by itself; what it does in a cluster is tested where jobs are.
func TestPlugin(t *testing.T) {
	out, err := exec.Command("python3", "-B", "plugin_test.py").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
