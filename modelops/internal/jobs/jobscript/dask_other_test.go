//go:build unix && !linux

package jobscript

import "github.com/rogpeppe/go-internal/testscript"

// onDask finds processes by /proc, which is Linux's.
func onDask(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("dask is a command on Linux") }
