package bundleoci_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// secure has the registry answer by TLS, at a name: what goes by the names of this machine
// goes in plain. adjust is called before the server starts.
func (f *faulty) secure(t *testing.T, adjust func(*httptest.Server)) {
	t.Helper()
	server := httptest.NewUnstartedServer(f.handler)
	adjust(server)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "example.com" // which the server's certificate is for
	address(t, name+":443", server.Listener.Addr().String())
	f.env.Registry.LoginServer, f.env.Registry.CAFile = name, ca
}

// address has one address of the network be another until the test ends.
func address(t *testing.T, name, is string) {
	old := http.DefaultTransport
	known := old.(*http.Transport).Clone()
	known.Proxy = nil
	dial := known.DialContext
	known.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == name {
			address = is
		}
		return dial(ctx, network, address)
	}
	http.DefaultTransport = known
	t.Cleanup(func() { http.DefaultTransport = old })
}

// stallingListener accepts a number of connections that nobody ever answers.
type stallingListener struct {
	net.Listener

	mu   sync.Mutex
	left int
	held []net.Conn
}

func (l *stallingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.hold(conn) {
			return conn, err
		}
	}
}

func (l *stallingListener) hold(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 {
		return false
	}
	l.left--
	l.held = append(l.held, conn)
	return true
}

func (l *stallingListener) stalled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

func (l *stallingListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.held {
		conn.Close()
	}
	return l.Listener.Close()
}

// net031: a TLS handshake that stalls has an end, and is tried again.
func TestHandshakeStalls(t *testing.T) {
	for name, test := range map[string]struct {
		stalls int
		want   contracts.Code
	}{
		"once":     {1, ""},
		"for ever": {1000, contracts.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			ref := bundletest.Push(t, f.registry, "seir", faultFiles)
			stalling := &stallingListener{left: test.stalls}
			f.secure(t, func(s *httptest.Server) { stalling.Listener, s.Listener = s.Listener, stalling })
			err := pull(t, f.open(t, 2*time.Second), ref.Digest)
			if code(err) != test.want || err != nil && !strings.Contains(err.Error(), "TLS handshake timeout") {
				t.Errorf("%v", err)
			}
			if stalling.stalled() == 0 {
				t.Error("no handshake stalled")
			}
		})
	}
}

type connectionKey struct{}

// goAway is the frame of HTTP/2 that ends a connection: those streams are still answered
// whose number is not above the last one.
func goAway(last, code byte) []byte {
	return []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, code}
}

// net057: a download that HTTP/2 ends in the middle goes on where it was.
func TestGoAway(t *testing.T) {
	for name, end := range map[string]func(w http.ResponseWriter, req *http.Request){
		"drained": func(_ http.ResponseWriter, req *http.Request) { hangUpAfter(req, goAway(0xff, 0)) },
		"refused": func(_ http.ResponseWriter, req *http.Request) { hangUpAfter(req, goAway(0, 0)) },
		"broken":  func(_ http.ResponseWriter, req *http.Request) { hangUpAfter(req, goAway(0xff, 2)) },
		"reset":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, // the stream alone
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			ref := bundletest.Push(t, f.registry, "seir", faultFiles)
			f.secure(t, func(s *httptest.Server) {
				s.EnableHTTP2 = true
				s.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
					return context.WithValue(ctx, connectionKey{}, conn)
				}
			})
			repo := f.open(t, 8*time.Second)
			// What has come and was not read is lost with the connection: whether there is
			// something to go on from is a matter of luck, and of the server's patience.
			for try, resumed := 1, int64(0); resumed == 0 && name != "refused" || try == 1; try++ {
				var old int64
				if resumed, old = f.hangUp(t, repo, ref.Digest, time.Duration(try)*20*time.Millisecond, end); old > 0 {
					t.Fatalf("%d requests were not HTTP/2: %q", old, f.log)
				}
				if try == 20 && resumed == 0 {
					t.Fatal("no download went on where it was")
				}
			}
		})
	}
}

// hangUp pulls while the first answer for each blob ends in the middle, after a pause, and
// says how many downloads went on where they were, and how many were not by HTTP/2.
func (f *faulty) hangUp(t *testing.T, repo *bundleoci.Repository, d contracts.Digest, pause time.Duration, end func(http.ResponseWriter, *http.Request)) (resumed, old int64) {
	t.Helper()
	var wentOn, others atomic.Int64
	f.set(blob(func(w http.ResponseWriter, req *http.Request, n int, body []byte) {
		if req.ProtoMajor != 2 {
			others.Add(1)
		}
		at := from(req)
		if n > 0 {
			if at > 0 {
				wentOn.Add(1)
			}
			part(w, body, at, at, len(body))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		time.Sleep(pause)
		end(w, req)
	}))
	if err := pull(t, repo, d); err != nil {
		t.Error(err)
	}
	return wentOn.Load(), others.Load()
}

// hangUpAfter writes a frame to the request's connection, says that it is the last, and
// waits until the other side has hung up: to close it at once could take back what was sent.
func hangUpAfter(req *http.Request, frame []byte) {
	conn := req.Context().Value(connectionKey{}).(*tls.Conn)
	_, _ = conn.Write(frame)
	_ = conn.CloseWrite()
	select {
	case <-req.Context().Done():
	case <-time.After(10 * time.Second):
	}
	conn.Close()
}

// net037: what a name stands for is seen when it is connected to.
func TestRedirectInwardByName(t *testing.T) {
	var asked atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f := newFaulty(t)
	ref := bundletest.Push(t, f.registry, "seir", faultFiles)
	address(t, "registry.test:80", f.env.Registry.LoginServer)
	address(t, "storage.test:"+port, inside.Listener.Addr().String())
	f.env.Registry.LoginServer, f.env.Registry.Insecure = "registry.test", true
	repo := f.open(t, time.Second)
	f.set(blob(func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) {
		w.Header().Set("Location", "http://storage.test:"+port+"/latest/meta-data")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	if err := pull(t, repo, ref.Digest); code(err) != contracts.CodeDenied || !strings.Contains(err.Error(), "an address of this machine") {
		t.Errorf("%v", err)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d requests arrived", n)
	}
}
