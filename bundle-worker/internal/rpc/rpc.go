// Package rpc speaks JSON-RPC 2.0 with a simulation's process. Messages are framed as in
// the Language Server Protocol: "Content-Length: N", an empty line, N bytes of JSON.
//
// The other end is user code and is trusted in nothing: a length that it claims allocates
// nothing, and what it sends is bounded.
package rpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

const (
	// MaxMessage bounds the body of a message, in bytes. What is larger goes by file.
	MaxMessage = 64 << 20

	maxHeader      = 1 << 10 // bytes of one header line
	maxHeaderLines = 16
)

// ErrClosed is the other end going away between or within messages.
var ErrClosed = errors.New("the connection was closed")

// FrameError is a message that breaks the protocol.
type FrameError struct{ Reason string }

// Error is the reason.
func (e *FrameError) Error() string { return e.Reason }

// Error is the answer of a call that failed on the other side.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Conn calls methods on the other side, one at a time. It is safe for concurrent use.
type Conn struct {
	mu   sync.Mutex
	in   *bufio.Reader
	out  io.Writer
	last int64
}

// NewConn makes a connection of what the other side writes and reads.
func NewConn(in io.Reader, out io.Writer) *Conn {
	return &Conn{in: bufio.NewReaderSize(in, 64<<10), out: out}
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int64  `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      *int64          `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *Error          `json:"error"`
}

// Call sends a request and decodes its answer into result, which may be nil. The error is
// an [Error] when the other side answered with one, a [FrameError] when it broke the
// protocol, [ErrClosed] when it went away, or the error of the reader or writer.
func (c *Conn) Call(method string, params, result any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	body, err := json.Marshal(request{"2.0", c.last, method, params})
	if err != nil {
		return err
	}
	if err := WriteFrame(c.out, body); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	body, err = ReadFrame(c.in)
	if err != nil {
		return err
	}
	var answer response
	if err := json.Unmarshal(body, &answer); err != nil {
		return &FrameError{"the message is not valid JSON"}
	}
	switch {
	case answer.Version != "2.0" || answer.ID == nil || *answer.ID != c.last:
		return &FrameError{"the message is not the answer to request " + strconv.FormatInt(c.last, 10)}
	case answer.Error != nil:
		return answer.Error
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return &FrameError{"the result of " + method + " has another form than expected"}
	}
	return nil
}

// WriteFrame writes one message.
func WriteFrame(w io.Writer, body []byte) error {
	head := make([]byte, 0, 32+len(body))
	head = append(head, "Content-Length: "...)
	head = strconv.AppendInt(head, int64(len(body)), 10)
	head = append(head, "\r\n\r\n"...)
	_, err := w.Write(append(head, body...))
	return err
}

// ReadFrame reads one message. The error is a [FrameError], [ErrClosed], or the reader's.
func ReadFrame(r *bufio.Reader) ([]byte, error) {
	size, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer // grows with what arrives, not with what is claimed
	n, err := io.CopyN(&body, r, size)
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w within a message, after %d of %d bytes", ErrClosed, n, size)
	case err != nil:
		return nil, err
	}
	return body.Bytes(), nil
}

func readHeader(r *bufio.Reader) (size int64, err error) {
	size = -1
	for range maxHeaderLines {
		line, err := readLine(r)
		if err != nil {
			return 0, err
		}
		if line == "" {
			if size < 0 {
				return 0, &FrameError{"the message has no Content-Length"}
			}
			return size, nil
		}
		name, value, colon := strings.Cut(line, ":")
		if !colon {
			return 0, &FrameError{"a line of the message's header is no field"}
		}
		if !strings.EqualFold(name, "Content-Length") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 63)
		if err != nil || size >= 0 {
			return 0, &FrameError{"the message's Content-Length is not one number"}
		}
		if n > MaxMessage {
			return 0, &FrameError{fmt.Sprintf("the message's Content-Length is over the limit of %d bytes", MaxMessage)}
		}
		size = int64(n)
	}
	return 0, &FrameError{"the message's header has no end"}
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) <= maxHeader {
		b, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				return "", fmt.Errorf("%w within a message's header", ErrClosed)
			}
			return "", ErrClosed
		case err != nil:
			return "", err
		case b == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b)
	}
	return "", &FrameError{"a line of the message's header is too long"}
}
