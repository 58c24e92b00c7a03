//go:build unix

package guard

import (
	"errors"
	"io"
	"time"
)

// The orders about a process that runs.
const (
	Stop = "stop" // SIGTERM, and SIGKILL after the grace period
	Kill = "kill" // SIGKILL
)

// Order is what the worker tells the guard: first what to remove, then what to run. No text
// in it may have a zero byte, which the system would not take either.
type Order struct {
	Path      string
	Args      []string
	Env       []string
	Dir       string
	Stdin     string // a file
	Grace     time.Duration
	SameGroup bool
	Scratch   string // removed when the worker is gone
	Remove    bool   // and in any case
}

const fixedWords = 8 // of an order, before its arguments

// Message is the order as the guard reads it.
func (o Order) Message() []byte {
	words := []string{
		o.Path, o.Dir, o.Stdin, o.Scratch, number(int(o.Grace)), number(one(o.SameGroup)), number(one(o.Remove)), number(len(o.Args)),
	}
	return Message(append(append(words, o.Args...), o.Env...)...)
}

func parseOrder(words []string) (Order, error) {
	if len(words) < fixedWords {
		return Order{}, errMessage
	}
	numbers, err := parseNumbers(words[4:fixedWords])
	lists := words[fixedWords:]
	if err != nil || numbers[3] > len(lists) {
		return Order{}, errMessage
	}
	return Order{
		Path: words[0], Dir: words[1], Stdin: words[2], Scratch: words[3],
		Grace: time.Duration(numbers[0]), SameGroup: numbers[1] == 1, Remove: numbers[2] == 1,
		Args: lists[:numbers[3]], Env: lists[numbers[3]:],
	}, nil
}

// Report is what the guard tells the worker: that the process runs or why it does not, and
// how it ended.
type Report struct {
	Pid    int // of the process that runs; 0 when it did not start, for the reason Errno
	Errno  int // 0 when the reason is another
	Ended  bool
	Code   int
	Signal int
	Core   bool
}

func (r Report) message() []byte {
	return Message(number(r.Pid), number(r.Errno), number(one(r.Ended)), number(r.Code), number(r.Signal), number(one(r.Core)))
}

// ReadReport reads a report of the guard.
func ReadReport(from io.Reader) (Report, error) {
	words, err := readMessage(from)
	if err != nil {
		return Report{}, err
	}
	n, err := parseNumbers(words)
	if err != nil || len(n) != 6 {
		return Report{}, errMessage
	}
	return Report{Pid: n[0], Errno: n[1], Ended: n[2] == 1, Code: n[3], Signal: n[4], Core: n[5] == 1}, nil
}

var errMessage = errors.New("a message of worker and guard is not what it should be")

// Message is words as they are sent: after their length in four bytes, each with a zero at
// its end. encoding/json and strconv would do, were they not initialised too late for a
// guard; see init.
func Message(words ...string) []byte {
	b := make([]byte, 4)
	for _, word := range words {
		b = append(append(b, word...), 0)
	}
	size := len(b) - 4
	b[0], b[1], b[2], b[3] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	return b
}

const maxMessage = 16 << 20 // bytes: no system takes as much for a process

func readMessage(from io.Reader) (words []string, err error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if size > maxMessage {
		return nil, errMessage
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(from, data); err != nil {
		return nil, err
	}
	begin := 0
	for i, c := range data {
		if c == 0 {
			words, begin = append(words, string(data[begin:i])), i+1
		}
	}
	if begin != size {
		return nil, errMessage
	}
	return words, nil
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// number is a number that is not negative, in decimal digits.
func number(n int) string {
	var digits [20]byte
	at := len(digits)
	for {
		at--
		digits[at] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(digits[at:])
		}
	}
}

// parseNumber is what [number] was given; false for anything else.
func parseNumber(text string) (n int, ok bool) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > 1<<58 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, text != ""
}

func parseNumbers(words []string) ([]int, error) {
	numbers := make([]int, len(words))
	for i, word := range words {
		var ok bool
		if numbers[i], ok = parseNumber(word); !ok {
			return nil, errMessage
		}
	}
	return numbers, nil
}
