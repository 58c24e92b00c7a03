// Package s3test starts an S3 server for tests of every module.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Server is a running server, with one user who may do everything.
type Server struct {
	Endpoint  string // URL
	AccessKey string
	SecretKey string
}

// Bucket is the storage of provider s3 in a bucket, which is not made.
func (s *Server) Bucket(name string) *contracts.Storage {
	return &contracts.Storage{Provider: "s3", Container: name, Endpoint: s.Endpoint, AccessKey: s.AccessKey, SecretKey: contracts.Secret(s.SecretKey)}
}

// startTimeout bounds how long the server may take to answer, on a busy machine.
const startTimeout = time.Minute

// Start starts a server, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, stop, err := Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s
}

// Run starts a server, which ends with a call of stop. MODELOPS_TEST_S3 is its program;
// without it "make s3" makes the one of the checkout.
func Run() (s *Server, stop func(), err error) {
	program, err := build()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "s3-")
	if err != nil {
		return nil, nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	s = &Server{Endpoint: "http://" + address, AccessKey: "test-access-key", SecretKey: "test-secret-key-canary"}
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "--port", address, "--quiet", "--region", "us-east-1",
		"posix", dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.AccessKey, "ROOT_SECRET_ACCESS_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = &log, &log
	ended := make(chan struct{})
	stop = func() {
		cancel()
		<-ended
		_ = os.RemoveAll(dir)
	}
	if err := cmd.Start(); err != nil {
		close(ended)
		stop()
		return nil, nil, fmt.Errorf("versitygw: %w", err)
	}
	go func() { _ = cmd.Wait(); close(ended) }()
	if err := s.await(ctx, ended); err != nil {
		stop()
		return nil, nil, fmt.Errorf("versitygw: %w\n%s", err, &log)
	}
	return s, stop, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

func (s *Server) await(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			return response.Body.Close()
		}
		select {
		case <-ticker.C:
		case <-ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return errors.New("it does not answer")
		}
	}
}

var build = sync.OnceValues(func() (string, error) {
	if program := os.Getenv("MODELOPS_TEST_S3"); program != "" {
		return program, nil
	}
	out, err := exec.Command("go", "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if output, err := exec.Command("make", "-s", "-C", root, "s3").CombinedOutput(); err != nil {
		return "", fmt.Errorf("make s3: %w\n%s", err, output)
	}
	return filepath.Join(root, ".cache", "s3", "versitygw"), nil
})
