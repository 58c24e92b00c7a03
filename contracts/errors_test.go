package contracts_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

var update = flag.Bool("update", false, "rewrite docs/exit-codes.md")

const exitCodesFile = "../docs/exit-codes.md"

// exitCodesPage is docs/exit-codes.md.
func exitCodesPage() string {
	var b strings.Builder
	b.WriteString(`# Errors and exit codes

This page is written from the list in ` + "`contracts`" + ` (go test ./contracts -run ExitCodes -update).

With ` + "`--json`" + ` every program prints an error as one document on stdout; without, as text on stderr.
The schema of the document is ` + "`contracts/schema/error.json`" + `.

` + "```json" + `
{"error":{"code":"bundle_not_found","stage":"resolve","message":"…","hint":"…"}}
` + "```" + `

Beside ` + "`code`" + ` and ` + "`message`" + ` it may have ` + "`stage`" + ` (the step of the flow), ` + "`type`" + `, ` + "`traceback`" + ` and ` + "`stderr_tail`" + ` (of user code),
` + "`hint`" + `, ` + "`retryable`" + `, and ` + "`problems`" + ` (every fault of a document, each with ` + "`field`" + `, ` + "`message`" + ` and ` + "`hint`" + `).

The list of codes is closed: programs may branch on them. A code keeps its exit code; new codes may appear, with exit code 1 for programs that do not know them.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong usage |
| 3 | not found |
| 4 | not allowed: authentication or permission |
| 5 | conflict: somebody else changed it, or local changes would be lost |
| 6 | integrity: bytes do not match their digest |
| 7 | unavailable: network, registry, storage or scheduler |
| 130 | interrupted |

` + "`bundle-worker run`" + ` passes on the code of the command that it runs, and has 125, 126 and 127 for failures of its own.

| code | exit code | means |
|---|---|---|
`)
	for _, info := range contracts.Codes() {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", info.Code, info.Exit, info.Meaning)
	}
	return b.String()
}

func TestExitCodesPage(t *testing.T) {
	if *update {
		if err := os.WriteFile(exitCodesFile, []byte(exitCodesPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if string(readFile(t, exitCodesFile)) != exitCodesPage() {
		t.Error("docs/exit-codes.md differs from contracts.Codes(): run go test ./contracts -run ExitCodes -update")
	}
}

func TestCodes(t *testing.T) {
	seen := map[contracts.Code]bool{}
	for _, info := range contracts.Codes() {
		if seen[info.Code] || info.Meaning == "" {
			t.Errorf("%+v is listed twice or has no meaning", info)
		}
		seen[info.Code] = true
		switch info.Exit {
		case 1, 2, 3, 4, 5, 6, 7, 130:
		default:
			t.Errorf("%s has the exit code %d", info.Code, info.Exit)
		}
		if got := (&contracts.Error{Code: info.Code}).ExitCode(); got != info.Exit {
			t.Errorf("ExitCode of %s = %d", info.Code, got)
		}
	}
	if got := contracts.Code("of_a_newer_version").ExitCode(); got != 1 {
		t.Errorf("ExitCode = %d", got)
	}
}

func TestError(t *testing.T) {
	if contracts.AsError(nil) != nil {
		t.Error("AsError(nil) is an error")
	}
	plain := contracts.AsError(fs.ErrNotExist)
	if plain.Code != contracts.CodeInternal || !errors.Is(plain, fs.ErrNotExist) {
		t.Errorf("AsError = %+v", plain)
	}
	typed := (&contracts.Error{Code: contracts.CodeUnavailable, Message: "registry does not answer"}).Because(fs.ErrClosed)
	wrapped := fmt.Errorf("while pulling: %w", typed)
	if got := contracts.AsError(wrapped); got != typed || !errors.Is(wrapped, fs.ErrClosed) {
		t.Errorf("AsError = %+v", got)
	}
	if contracts.Except(wrapped, contracts.CodeNotFound) == nil || contracts.Except(wrapped, contracts.CodeNotFound, contracts.CodeUnavailable) != nil || contracts.Except(nil) != nil {
		t.Error("Except lets the wrong errors through")
	}
	want := `{"error":{"code":"unavailable","message":"registry does not answer"}}` + "\n"
	if got := string(contracts.MarshalEnvelope(wrapped)); got != want {
		t.Errorf("MarshalEnvelope = %s", got)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain": `"plain"`, "\x1b[2J": `"\x1b[2J"`, "\u202eris": `"\u202eris"`, "m\u043edel": `"m\u043edel"`, "a\xffb": `"a\xffb"`,
		strings.Repeat("é", 150): `"` + strings.Repeat(`\u00e9`, 100) + `\u2026"`,
	} {
		if got := contracts.Quote(in); got != want {
			t.Errorf("Quote(%q) = %s", in, got)
		}
	}
	if got, want := contracts.Lines("a\tb\n\x1b[31mé\r\u202e"), "a\tb\n\\x1b[31mé\\r\\u202e"; got != want {
		t.Errorf("Lines = %q, want %q", got, want)
	}
}

func TestSecret(t *testing.T) {
	secret := contracts.Secret("hunter2")
	document, err := json.Marshal(map[string]any{"a": secret, "b": &secret})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret)
	printed := fmt.Sprintf("%v %s %q %#v %x %d %+v %v", secret, secret, secret, secret, secret, secret, struct{ S contracts.Secret }{secret}, []contracts.Secret{secret}) + string(document) + log.String() + secret.String() + secret.GoString()
	if strings.Contains(printed, "hunter2") || strings.Contains(printed, "68756e74") {
		t.Errorf("the secret is printed: %s", printed)
	}
	if secret.Reveal() != "hunter2" || contracts.Secret("").String() != "" {
		t.Error("Reveal or String is wrong")
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 files", 1: "1 file", 2: "2 files", 1_000_000: "1000000 files"} {
		if got := contracts.Count(n, "file", "files"); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
