package rpc_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/rpc"
)

func frame(t *testing.T, raw string) ([]byte, error) {
	t.Helper()
	return rpc.ReadFrame(bufio.NewReader(strings.NewReader(raw)))
}

func TestReadFrameRefusesWhatBreaksTheProtocol(t *testing.T) {
	for name, test := range map[string]struct{ raw, want string }{
		"no length":       {"Some-Header: value\r\n\r\n", "no Content-Length"},
		"no number":       {"Content-Length: invalid\r\n\r\n", "Content-Length"},
		"negative":        {"Content-Length: -1\r\n\r\n", "Content-Length"},
		"plus":            {"Content-Length: +1\r\n\r\nx", "Content-Length"},
		"huge":            {"Content-Length: 999999999999\r\n\r\n", "Content-Length is over the limit"},
		"overflow":        {"Content-Length: 99999999999999999999999\r\n\r\n", "Content-Length"},
		"twice":           {"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "Content-Length"},
		"no field":        {"hello from print()\r\n\r\n", "no field"},
		"endless line":    {strings.Repeat("a", 1<<20), "too long"},
		"endless headers": {strings.Repeat("A: b\r\n", 1000), "no end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := frame(t, test.raw)
			var broken *rpc.FrameError
			if !errors.As(err, &broken) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want a FrameError with %q", err, test.want)
			}
		})
	}
}

func TestReadFrameToldThatTheOtherEndWentAway(t *testing.T) {
	for name, raw := range map[string]string{
		"before": "", "in the header": "Content-Len", "in the body": "Content-Length: 100\r\n\r\n" + strings.Repeat("x", 50),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := frame(t, raw); !errors.Is(err, rpc.ErrClosed) {
				t.Fatalf("got %v, want ErrClosed", err)
			}
		})
	}
}

func TestReadFrameAllocatesNothingForAClaim(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := frame(t, "Content-Length: 67108864\r\n\r\nshort")
	runtime.ReadMemStats(&after)
	if !errors.Is(err, rpc.ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("a claim of 64 MiB allocated %d bytes", grown)
	}
}

// TestCall runs a server in this process that echoes its parameters.
func TestCall(t *testing.T) {
	conn := serve(t, func(method string, params json.RawMessage) (any, *rpc.Error) {
		if method == "fail" {
			return nil, &rpc.Error{Code: -32601, Message: "no such method"}
		}
		return params, nil
	})
	for _, size := range []int{0, 1, 70_000, 100_000, 5_000_000} {
		want, got := strings.Repeat("x", size), ""
		if err := conn.Call("echo", want, &got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("an echo of %d bytes came back with %d", size, len(got))
		}
	}
	err := conn.Call("fail", nil, nil)
	var answer *rpc.Error
	if !errors.As(err, &answer) {
		t.Fatalf("got %v, want an Error", err)
	}
	if diff := cmp.Diff(&rpc.Error{Code: -32601, Message: "no such method"}, answer); diff != "" {
		t.Error(diff)
	}
	var number int
	if err := conn.Call("echo", "text", &number); err == nil || !strings.Contains(err.Error(), "another form") {
		t.Errorf("a result of another form: %v", err)
	}
}

// TestCallFromMany has fifteen callers on one connection: each gets its own answers.
func TestCallFromMany(t *testing.T) {
	conn := serve(t, func(_ string, params json.RawMessage) (any, *rpc.Error) { return params, nil })
	var callers sync.WaitGroup
	for caller := range 15 {
		callers.Go(func() {
			for n := range 40 {
				want, got := strings.Repeat(strconv.Itoa(caller), n*100), ""
				if err := conn.Call("echo", want, &got); err != nil || got != want {
					t.Errorf("caller %d got %d bytes of %d: %v", caller, len(got), len(want), err)
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestCallRefusesAnswersToOtherRequests(t *testing.T) {
	for _, answer := range []string{`not json`, `{}`, `{"jsonrpc":"2.0","id":7,"result":1}`, `{"id":1,"result":1}`} {
		var in bytes.Buffer
		if err := rpc.WriteFrame(&in, []byte(answer)); err != nil {
			t.Fatal(err)
		}
		var broken *rpc.FrameError
		if err := rpc.NewConn(&in, io.Discard).Call("x", nil, nil); !errors.As(err, &broken) {
			t.Errorf("%s: got %v, want a FrameError", answer, err)
		}
	}
}

func serve(t *testing.T, handle func(string, json.RawMessage) (any, *rpc.Error)) *rpc.Conn {
	t.Helper()
	requestR, requestW := io.Pipe()
	responseR, responseW := io.Pipe()
	t.Cleanup(func() { requestW.Close(); responseR.Close() })
	go func() {
		in := bufio.NewReader(requestR)
		for {
			body, err := rpc.ReadFrame(in)
			if err != nil {
				return
			}
			var request struct {
				ID     int64
				Method string
				Params json.RawMessage
			}
			if err := json.Unmarshal(body, &request); err != nil {
				return
			}
			answer := map[string]any{"jsonrpc": "2.0", "id": request.ID}
			if result, failed := handle(request.Method, request.Params); failed != nil {
				answer["error"] = failed
			} else {
				answer["result"] = result
			}
			body, err = json.Marshal(answer)
			if err == nil {
				err = rpc.WriteFrame(responseW, body)
			}
			if err != nil {
				return
			}
		}
	}()
	return rpc.NewConn(responseR, requestW)
}

func FuzzReadFrame(f *testing.F) {
	for _, seed := range []string{"Content-Length: 2\r\n\r\n{}", "Content-Length: 999999999999\r\n\r\n", "content-length:0\n\n", "\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := rpc.ReadFrame(bufio.NewReader(bytes.NewReader(raw)))
		if err == nil && len(body) > len(raw) {
			t.Fatal("read more than there was")
		}
	})
}
