package dask

import "os/exec"

func apart(*exec.Cmd) {}
