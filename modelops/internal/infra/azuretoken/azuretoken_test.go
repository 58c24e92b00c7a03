//go:build unix

package azuretoken_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azuretoken"
)

// az is a script that answers as Azure's program does.
func az(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "AzureCLICredential")
}

func TestGet(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	az(t, `echo "$*" >`+asked+`
echo '{"accessToken": "a-token-of-azure", "expiresOn": "2031-05-06 07:08:09.000000", "expires_on": 1936077689, "tokenType": "Bearer"}'`)
	got, err := azuretoken.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"a-token-of-azure","expirationTimestamp":"2031-05-09T07:21:29Z"}}`
	if string(data) != want {
		t.Errorf("%s, want %s", data, want)
	}
	question, err := os.ReadFile(asked)
	if err != nil || !strings.Contains(string(question), "6dae42f8-4368-4678-94ff-3960e28e3630") {
		t.Errorf("%s %v", question, err)
	}
}

func TestNobody(t *testing.T) {
	az(t, `echo "ERROR: Please run 'az login' to setup account." >&2; exit 1`)
	_, err := azuretoken.Get(t.Context())
	if e := contracts.AsError(err); e == nil || e.Code != contracts.CodeUnauthenticated || e.Hint != "az login" {
		t.Error(err)
	}
}
