//go:build unix

package runner

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"
)

const (
	keptHead = 8 << 10  // bytes kept of the beginning of what a process writes
	keptTail = 56 << 10 // and of its end
	maxTail  = keptHead + keptTail
	readSize = 64 << 10 // bytes: what a pipe holds
)

// Capture reads what a process writes, always, and keeps its beginning and its end.
type Capture struct {
	pipe *os.File
	done chan struct{}

	mu     sync.Mutex
	buffer []byte
	head   []byte
	tail   ring
	total  int64
}

// ring keeps the last bytes that were written to it.
type ring struct {
	data []byte
	next int // where the next byte goes, once data is full
}

func (r *ring) write(p []byte, limit int) {
	if len(p) >= limit {
		r.data, r.next = append(r.data[:0], p[len(p)-limit:]...), 0
		return
	}
	if room := limit - len(r.data); room > 0 {
		n := min(room, len(p))
		r.data, p = append(r.data, p[:n]...), p[n:]
	}
	for len(p) > 0 {
		n := copy(r.data[r.next:], p)
		r.next, p = (r.next+n)%limit, p[n:]
	}
}

func (r *ring) bytes() []byte {
	return append(append(make([]byte, 0, len(r.data)), r.data[r.next:]...), r.data[:r.next]...)
}

// newCapture captures what comes out of a pipe.
func newCapture(pipe *os.File) *Capture {
	c := &Capture{pipe: pipe, done: make(chan struct{}), buffer: make([]byte, readSize)}
	go c.read()
	return c
}

// read drains the pipe until nobody can write to it any more.
func (c *Capture) read() {
	defer close(c.done)
	raw, err := c.pipe.SyscallConn()
	if err != nil {
		return
	}
	for more := true; more; {
		waitErr := raw.Read(func(fd uintptr) bool {
			n, err := c.readOnce(int(fd))
			more = n > 0
			return err != syscall.EAGAIN
		})
		if waitErr != nil {
			return
		}
	}
}

// readOnce reads what is there and keeps it, in one step that nothing comes between.
func (c *Capture) readOnce(fd int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		n, err := syscall.Read(fd, c.buffer)
		if err == syscall.EINTR {
			continue
		}
		if n > 0 {
			c.keep(c.buffer[:n])
		}
		return n, err
	}
}

func (c *Capture) keep(p []byte) {
	c.total += int64(len(p))
	if room := keptHead - len(c.head); room > 0 {
		n := min(room, len(p))
		c.head, p = append(c.head, p[:n]...), p[n:]
	}
	c.tail.write(p, keptTail)
}

// Reset forgets what was read, for a process that begins something new.
func (c *Capture) Reset() {
	c.Sync()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.tail, c.total = c.head[:0], ring{data: c.tail.data[:0]}, 0
}

// Sync takes in what the process had written when it was called, at most a pipe's
// content.
func (c *Capture) Sync() {
	raw, err := c.pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for limit := 0; limit < maxTail; {
			n, err := c.readOnce(int(fd))
			if n <= 0 || err != nil {
				return
			}
			limit += n
		}
	})
}

// close stops reading, whoever still holds the other end.
func (c *Capture) close() {
	_ = c.pipe.Close()
	<-c.done
}

// Text is what the process wrote: all of it, or its beginning and end around a line that
// says how much is missing. Bytes that are no UTF-8 are escaped. It has at most 64 KiB.
func (c *Capture) Text() string {
	c.mu.Lock()
	head, tail, total := string(c.head), string(c.tail.bytes()), c.total
	c.mu.Unlock()
	if left := total - int64(len(head)+len(tail)); left > 0 {
		gap := fmt.Sprintf("\n[… %d bytes left out …]\n", left)
		return clip(escape(head), keptHead, false) + gap + clip(escape(tail), keptTail-len(gap), true)
	}
	text := escape(head + tail)
	if len(text) > maxTail {
		const gap = "\n[…]\n"
		return clip(text, keptHead, false) + gap + clip(text, keptTail-len(gap), true)
	}
	return text
}

// clip cuts text to at most limit bytes, from its end or from its beginning, between runes.
func clip(text string, limit int, end bool) string {
	if len(text) <= limit {
		return text
	}
	if end {
		from := len(text) - limit
		for from < len(text) && !utf8.RuneStart(text[from]) {
			from++
		}
		return text[from:]
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// escape writes what is no UTF-8 as \xNN, so that JSON keeps it.
func escape(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size <= 1 {
			hex := strconv.FormatUint(uint64(text[i]), 16)
			b.WriteString(`\x` + strings.Repeat("0", 2-len(hex)) + hex)
			i++
			continue
		}
		b.WriteString(text[i : i+size])
		i += size
	}
	return b.String()
}
