//go:build unix

package pyenv

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// buildAndUse asks for the environment of a bundle, and imports what must be in it.
func buildAndUse(bundle, root string) int {
	env, err := Ensure(context.Background(), Options{Bundle: bundle, Root: root, Environ: append(os.Environ(), "PIP_NO_INDEX=1"), Supervisor: supervisor()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer env.Release()
	if env.Record.Packages["tiny"] != "1.0" {
		fmt.Println("no tiny in", env.Record.Packages)
		return 1
	}
	out, err := exec.Command(env.Python, "-I", "-B", "-c", "import tiny; print(tiny.WORD)").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "hello" {
		fmt.Println("half an environment:", string(out), err)
		return 1
	}
	return 0
}

// However many processes that build on one root are killed at whatever moment, nobody ever
// gets a half-built environment, and nothing that was started lives on.
func TestKilledBuilders(t *testing.T) {
	const kills, builders = 100, 8
	bundle := bundleWith(t, map[string]string{"requirements.txt": "tiny==1.0\n", "wheels/tiny-1.0-py3-none-any.whl": "WORD = 'hello'\n"})
	root := filepath.Join(t.TempDir(), "venvs")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	left := make(chan int, kills)
	for i := range kills {
		left <- i
	}
	close(left)
	var group sync.WaitGroup
	var finished atomic.Int64
	for range builders {
		group.Go(func() {
			for i := range left {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				cmd := exec.Command(program, builderArgument, bundle, root)
				var words strings.Builder
				cmd.Stdout = &words
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				killed := time.AfterFunc(time.Duration(random.Int64N(int64(4*time.Second))), func() { _ = cmd.Process.Kill() })
				err := cmd.Wait()
				killed.Stop()
				if err == nil {
					finished.Add(1)
					// Nothing is left to kill in: the next has to build again.
					if key := keys(t, root); len(key) == 1 {
						remove(root, key[0])
					}
				} else if words.Len() > 0 {
					t.Errorf("builder %d: %v: %s", i, err, words.String())
				}
			}
		})
	}
	group.Wait()
	t.Logf("%d of %d were not killed", finished.Load(), kills)
	awaitNone(t, root)
	if code := buildAndUse(bundle, root); code != 0 {
		t.Fatal("the last one failed")
	}
	for _, key := range keys(t, root) {
		sweep(root, key)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 { // locks, the link, and what it leads to
		t.Errorf("left behind: %v", entries)
	}
}

func keys(t *testing.T, root string) []string {
	infos, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var keys []string
	for _, info := range infos {
		if info.Type()&fs.ModeSymlink != 0 && !strings.Contains(info.Name(), ".") {
			keys = append(keys, info.Name())
		}
	}
	return keys
}

// awaitNone waits until no process works below root.
func awaitNone(t *testing.T, root string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		found := ""
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, line := range lines {
			data, _ := os.ReadFile(line)
			if strings.Contains(string(data), root) {
				found = strings.ReplaceAll(string(data), "\x00", " ")
			}
		}
		if found == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still there: %s", found)
		case <-tick.C:
		}
	}
}
