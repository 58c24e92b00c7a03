package bundleworker_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const largest = 24_000_000 // bytes of the program, stripped: every node fetches it

// TestSize holds the program against what it may weigh, and names the packages that weigh
// most when it weighs more.
func TestSize(t *testing.T) {
	program := filepath.Join(os.Getenv("MODELOPS_TEST_BIN"), "bundle-worker")
	if os.Getenv("MODELOPS_TEST_BIN") == "" {
		program = build(t, "-ldflags=-s -w")
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > largest {
		t.Errorf("%s has %d bytes, and may have %d; the code of its largest packages:\n%s", program, info.Size(), largest, strings.Join(packagesBySize(t)[:10], "\n"))
	}
}

func build(t *testing.T, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bundle-worker")
	cmd := exec.Command("go", append(append([]string{"build", "-o", program}, flags...), "./cmd/bundle-worker")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// packagesBySize are the program's packages with the bytes of their code, the largest first.
func packagesBySize(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "tool", "nm", "-size", build(t)).Output()
	if err != nil {
		t.Fatalf("go tool nm: %v", err)
	}
	sizes := map[string]int{}
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line)) // address, size, kind, name
		if len(fields) < 4 || !strings.EqualFold(fields[2], "t") {
			continue
		}
		size, err := strconv.Atoi(fields[1])
		if err != nil {
			t.Fatalf("go tool nm: %q", line)
		}
		sizes[packageOf(fields[3])] += size
	}
	var list []string
	for _, name := range slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return cmp.Compare(sizes[b], sizes[a]) }) {
		list = append(list, fmt.Sprintf("%9d %s", sizes[name], name))
	}
	return list
}

// packageOf is the package of a symbol, as in "example.org/a/b.(*T[example.org/c.U]).Do".
func packageOf(symbol string) string {
	path := symbol
	if at := strings.IndexAny(path, "[("); at >= 0 {
		path = path[:at]
	}
	last := strings.LastIndexByte(path, '/') + 1
	name, _, _ := strings.Cut(path[last:], ".")
	return path[:last] + name
}
