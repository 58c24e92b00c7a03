//go:build unix

package guard

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestOrder(t *testing.T) {
	for _, want := range []Order{
		{},
		{Scratch: "/tmp/x"},
		{
			Path: "/bin/python", Args: []string{"python", "", "a b\nc"}, Env: []string{"LANG=C", "X=caf\xe9\n"}, Dir: "/", Stdin: "in",
			Grace: 5 * time.Second, SameGroup: true, Scratch: "/tmp/x", Remove: true,
		},
	} {
		words, err := readMessage(bytes.NewReader(want.Message()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseOrder(words)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
}

func TestReport(t *testing.T) {
	for _, want := range []Report{{}, {Pid: 1 << 22}, {Errno: 2}, {Ended: true, Code: 255}, {Ended: true, Signal: 11, Core: true}} {
		got, err := ReadReport(bytes.NewReader(want.message()))
		if err != nil || got != want {
			t.Errorf("%v %+v, want %+v", err, got, want)
		}
	}
}

func TestBrokenMessages(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no length": "\x00\x00", "too short": "\x00\x00\x00\x09a\x00", "no end": "\x00\x00\x00\x01a", "too long": "\x7f\xff\xff\xff",
		"no number": "\x00\x00\x00\x0cx\x000\x000\x000\x000\x000\x00", "too few words": "\x00\x00\x00\x021\x00", "a huge number": "\x00\x00\x00\x1e999999999999999999999\x000\x000\x000\x000\x00",
	} {
		if got, err := ReadReport(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, words := range map[string][]string{
		"too few words": {"/x"}, "more arguments than there are": {"/x", "/", "", "", "0", "0", "0", "2", "a"}, "no time": {"/x", "/", "", "", "-1", "0", "0", "0"},
	} {
		if got, err := parseOrder(words); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
