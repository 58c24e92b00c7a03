//go:build unix

package kubetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program of the cluster.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string // its file
	ended chan struct{}
}

// run starts a program, which ends with the cluster.
func (c *Cluster) run(name string, args ...string) error {
	log, err := os.Create(c.path(name + ".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the program has its own
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv(programs), name), args...)
	cmd.Env = append(os.Environ(), "KUBE_FEATURE_WatchListClient=false")
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	if err := cmd.Start(); err != nil {
		cancel()
		return fmt.Errorf("%w (make kubernetes builds it)", err)
	}
	p := &process{name: name, cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	c.processes = append(c.processes, p)
	c.stops = append(c.stops, func() {
		cancel()
		<-p.ended
	})
	return nil
}

// ended is an error when one of the programs has.
func (c *Cluster) ended() error {
	for _, p := range c.processes {
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended:\n%s", p.name, p.tail())
		default:
		}
	}
	return nil
}

// tail is the end of the process's log, for people.
func (p *process) tail() []byte {
	const most = 4 << 10
	log, _ := os.ReadFile(p.log)
	return bytes.TrimSpace(log[max(0, len(log)-most):])
}

// pause stops the process; the returned function lets it go on.
func (p *process) pause() (resume func(), err error) {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }), nil
}

// paused is an error while one of the process's threads still runs: they stop one by one.
func (p *process) paused() error {
	state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
	if err == nil && !strings.HasPrefix(string(state), "T") {
		err = fmt.Errorf("%s is in state %s", p.name, bytes.TrimSpace(state))
	}
	return err
}

// writeKey makes a key that signs tokens of service accounts.
func (c *Cluster) writeKey(name string) error {
	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return c.write(name, string(pem.EncodeToMemory(block)))
}

// ready asks the API server, by the certificate that it made for itself.
func (c *Cluster) ready() error {
	_, err := c.request(context.Background(), http.MethodGet, "/readyz", "", nil)
	return err
}

// patch changes what the suite itself has no business with.
func (c *Cluster) patch(ctx context.Context, path string, merge []byte) error {
	_, err := c.request(ctx, http.MethodPatch, path, "application/merge-patch+json", merge)
	return err
}

// post makes what the suite itself never makes.
func (c *Cluster) post(ctx context.Context, path string, object []byte) error {
	_, err := c.request(ctx, http.MethodPost, path, "application/json", object)
	return err
}

// request asks the API server for something, as the administrator.
func (c *Cluster) request(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	certificate, err := os.ReadFile(c.path("certificates/apiserver.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, method, c.Server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", kind)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err == nil && response.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	return text, err
}

// freeAddress is one on the loopback that nobody listens on.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
