//go:build unix

package cli

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// terminal SAID ANSWERS COMMAND... runs a command that must succeed with a terminal as
// its stdin and stderr. A line of ANSWERS is typed whenever the terminal shows a question,
// that is, text that ends in ": "; what it showed is put into the file SAID, and the
// command's stdout into SAID.stdout.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	controller, tty, err := pty.Open()
	ts.Check(err)
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	var stdout strings.Builder
	command := exec.Command(path, args[3:]...)
	command.Dir = ts.MkAbs(".")
	command.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "USER=" + ts.Getenv("USER"), "GORACE=" + quickExit}
	command.Stdin, command.Stdout, command.Stderr = tty, &stdout, tty
	answers := strings.Split(strings.TrimSuffix(ts.ReadFile(args[1]), "\n"), "\n")
	var said strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := controller.Read(buffer)
			said.Write(buffer[:n])
			if strings.HasSuffix(said.String(), ": ") && len(answers) > 0 {
				_, _ = io.WriteString(controller, answers[0]+"\n")
				answers = answers[1:]
			}
			if err != nil {
				return
			}
		}
	})
	ts.Check(command.Start())
	_ = tty.Close()
	err = command.Wait()
	reading.Wait() // until the other side is closed
	_ = controller.Close()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(said.String(), "\r\n", "\n")), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".stdout"), []byte(stdout.String()), 0o600))
	if (err != nil) != neg {
		ts.Fatalf("%v: %s", err, said.String())
	}
}
