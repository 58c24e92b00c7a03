//go:build unix

package guard

import (
	"io"
	"syscall"
	"testing"
)

// An early guard runs what it is told to, with the pipes that it was given; one that is told
// nothing ends.
func TestEarly(t *testing.T) {
	e, err := startEarly()
	if err != nil {
		t.Fatal(err)
	}
	for _, order := range []Order{{}, {Path: "/bin/sh", Dir: "/", Args: []string{"sh", "-c", "read word <&3; echo said $word >&4; echo printed; echo warned >&2"}}} {
		if _, err := e.Orders.Write(order.Message()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Requests.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(e.Answers); err != nil || string(said) != "said hello\n" {
		t.Errorf("%q, %v", said, err)
	}
	if output, err := io.ReadAll(e.Output); err != nil || string(output) != "printed\nwarned\n" {
		t.Errorf("%q, %v", output, err)
	}
	first, err := ReadReport(e.Reports)
	if err != nil || first.Pid == 0 {
		t.Errorf("%+v, %v", first, err)
	}
	if last, err := ReadReport(e.Reports); err != nil || last != (Report{Ended: true}) {
		t.Errorf("%+v, %v", last, err)
	}
	e.Drop()

	if e, err = startEarly(); err != nil {
		t.Fatal(err)
	}
	e.Drop()
	if err := syscall.Kill(e.Pid, 0); err != syscall.ESRCH {
		t.Errorf("it is still there: %v", err)
	}
	if TakeEarly() != nil {
		t.Error("this program is no exec, and has an early guard")
	}
}
