// Package azuritetest starts the emulator of Azure storage for tests of every module.
package azuritetest

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

// Server is a running emulator, with the account that it has unless told otherwise.
type Server struct {
	Endpoint string // URL of the account
	Key      string // of the account; it is public
}

// Account is the name of the server's account.
const Account = "devstoreaccount1"

// ConnectionString opens the server with the account's key.
func (s *Server) ConnectionString() string { return s.ConnectionStringAt(s.Endpoint) }

// ConnectionStringAt is the same by way of another address, as that of a proxy.
func (s *Server) ConnectionStringAt(endpoint string) string {
	return "AccountName=" + Account + ";AccountKey=" + s.Key + ";BlobEndpoint=" + endpoint
}

// startTimeout bounds how long the emulator may take to answer, on a busy machine.
const startTimeout = 2 * time.Minute

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

// Run starts a server, which ends with a call of stop. MODELOPS_TEST_AZURITE is the
// directory of the installation; without it "make azurite" makes the one of the checkout.
func Run() (s *Server, stop func(), err error) {
	installation, err := install()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "azurite-")
	if err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, "node", filepath.Join(installation, "node_modules", "azurite", "dist", "src", "blob", "main.js"),
		"--blobHost", "127.0.0.1", "--blobPort", port, "--location", dir, "--silent", "--disableTelemetry", "--skipApiVersionCheck")
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
		return nil, nil, fmt.Errorf("azurite: %w", err)
	}
	go func() { _ = cmd.Wait(); close(ended) }()
	account := contracts.EmulatorAccount("http://127.0.0.1:" + port + "/" + Account)
	s = &Server{Endpoint: account.Endpoint, Key: account.Key.Reveal()}
	if err := s.await(ctx, ended); err != nil {
		stop()
		return nil, nil, fmt.Errorf("azurite: %w\n%s", err, &log)
	}
	return s, stop, nil
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

func (s *Server) await(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
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

var install = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("MODELOPS_TEST_AZURITE"); dir != "" {
		return dir, nil
	}
	out, err := exec.Command("go", "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if output, err := exec.Command("make", "-s", "-C", root, "azurite").CombinedOutput(); err != nil {
		return "", fmt.Errorf("make azurite: %w\n%s", err, output)
	}
	return filepath.Join(root, ".cache", "azurite"), nil
})
