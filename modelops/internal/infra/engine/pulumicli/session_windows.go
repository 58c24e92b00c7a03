package pulumicli

import (
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

const executable = "pulumi.exe"

func runnable(fs.FileInfo) bool { return true }

func sameName(a, b string) bool { return strings.EqualFold(a, b) }

func session(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

func interruptProcess(p *os.Process) error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.Pid))
}

// endSession kills a process and those that it started. Of a process that has ended
// Windows does not know them any more.
func endSession(id int) {
	_ = exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(id)).Run()
}

// Runs says whether a process is a running pulumi.
func Runs(pid int) bool {
	out, err := exec.Command("tasklist", "/NH", "/FI", "PID eq "+strconv.Itoa(pid), "/FI", "IMAGENAME eq "+executable).Output()
	return err == nil && strings.Contains(string(out), executable)
}
