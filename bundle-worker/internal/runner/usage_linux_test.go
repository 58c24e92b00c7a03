package runner_test

import (
	"testing"

	"github.com/modelops-suite/modelops-go/bundle-worker/internal/runner"
)

// What processes share counts once, and what the kernel can take back does not count.
func TestMemoryThatIsNobodysOwn(t *testing.T) {
	for name, program := range map[string]string{
		"pages from before a fork": `
import os, time
kept = bytearray(b"x") * (60 << 20)
children = [os.fork() for _ in range(2)]
time.sleep(0.4)
`,
		"a mapped file": `
import mmap, time
with open("large", "wb") as f:
    for _ in range(200):
        f.write(bytes(1 << 20))
with open("large", "rb") as f:
    data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
sum(data[i] for i in range(0, len(data), 4096))
time.sleep(0.2)
`,
	} {
		t.Run(name, func(t *testing.T) {
			if exit := python(t, program).Wait(); exit != (runner.Exit{}) {
				t.Errorf("got %+v", exit)
			}
		})
	}
}
