//go:build unix

package azcli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// az makes a program that stands for az.
func az(t *testing.T, script string) *Program {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "FIFO=" + filepath.Join(dir, "fifo")}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Find(func(string) string { return "relative:" + dir }, environ)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAccounts(t *testing.T) {
	accounts, err := az(t, `echo "WARNING: something" >&2; cat <<END
[{"id": "b", "name": "B", "tenantId": "t", "isDefault": false, "state": "Enabled", "user": {"name": "x"}},
 {"id": "c", "name": "C", "tenantId": "t", "isDefault": false, "state": "PastDue"},
 {"id": "a", "name": "A", "tenantId": "t", "isDefault": false, "state": "Warned"},
 {"id": "d", "name": "D", "tenantId": "t", "isDefault": true, "state": "Enabled"}]
END
`).Accounts(t.Context())
	if err != nil || len(accounts) != 3 || accounts[0].ID+accounts[1].ID+accounts[2].ID != "dab" || accounts[0].TenantID != "t" {
		t.Error(accounts, err)
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		script  string
		code    contracts.Code
		message string
	}{
		{"echo '[]'", contracts.CodeUnauthenticated, "no subscription"},
		{`echo "ERROR: Please run 'az login' to setup account." >&2; exit 1`, contracts.CodeUnauthenticated, "nobody is signed in"},
		{`echo "ERROR: AADSTS50076: Due to a change, you must use multi-factor authentication to access 'x'. Trace ID: 1" >&2; echo "az login" >&2; exit 1`, contracts.CodeUnauthenticated, "Azure wants a new sign-in: AADSTS50076: Due to a change, you must use multi-factor authentication to access 'x'"},
		{`echo "WARNING: x" >&2; echo "ERROR: (AuthorizationFailed) The client" >&2; exit 1`, contracts.CodeDenied, "az account list: (AuthorizationFailed) The client"},
		{`echo "ERROR: (ResourceGroupNotFound) gone" >&2; exit 3`, contracts.CodeNotFound, "gone"},
		{`echo "ERROR: HTTPSConnectionPool(host='x', port=443): Max retries exceeded" >&2; exit 1`, contracts.CodeUnavailable, "HTTPSConnectionPool"},
		{"echo welcome", contracts.CodeFailed, "not the JSON expected"},
		{"echo ModuleNotFoundError >&2; exit 3", contracts.CodeFailed, "az account list: exit status 3"},
	} {
		_, err := az(t, test.script).Accounts(t.Context())
		if e := contracts.AsError(err); e == nil || e.Code != test.code || !strings.Contains(e.Message, test.message) || e.Hint == "" {
			t.Errorf("%s: %v", test.script, err)
		}
	}
	if _, err := Find(func(string) string { return t.TempDir() + ":relative" }, nil); contracts.AsError(err).Code != contracts.CodeNotFound {
		t.Error(err)
	}
}

// az that hangs, even in a process of its own, is given up.
func TestTimeout(t *testing.T) {
	for _, script := range []string{`exec cat "$FIFO"`, `cat "$FIFO"; true`} {
		p := az(t, script)
		p.timeout = 50 * time.Millisecond
		_, err := p.Accounts(t.Context())
		if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeUnavailable || !strings.Contains(e.Message, "has not answered for 50ms") {
			t.Error(err)
		}
		fifo, _ := strings.CutPrefix(p.environ[1], "FIFO=") // the child ends
		if f, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			_ = f.Close()
		}
	}
}

func TestLocation(t *testing.T) {
	if got := az(t, `echo '{"name": "location", "source": "x", "value": "westeurope"}'`).Location(t.Context()); got != "westeurope" {
		t.Error(got)
	}
	if got := az(t, "exit 1").Location(t.Context()); got != "" {
		t.Error(got)
	}
}
