//go:build unix

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundletest"
)

// hostile is what a task does that nobody would want it to, and what is to come of it. The
// names are those of the list of hostile processes and of the protocol's faults; what
// a list has beside these is below.
type hostile struct {
	do      string
	code    contracts.Code // of its error; "" for none
	says    string         // in its error
	tail    string         // in what is kept of its output
	retry   bool
	timeout string
	within  time.Duration // at most, if it is given: what would take longer waits for something that does not come
}

// Other tests have these rows:
//
//	proc024 reads environment variables         TestScript/exec_secrets_variables
//	proc025 reads files with credentials        TestScript/exec_secrets (HOME is the task's own), docs/worker.md
//	proc026 asks the cloud's metadata           docs/worker.md: the network is the cluster's affair
//	proc033 twice the same                      TestScript/exec_repeat
//	proc035 the worker is told to end           TestServeDrain
//	broken frames, large messages, threads      internal/rpc
//	prints at import, closed streams, 200 MB    internal/wire, TestWhateverIsPrinted, TestMegabytesOfOutput
//	bytes of every kind, the cap of inline ones internal/wire, TestRunTakesEveryKindOfBytes
//	a missing dependency is the first error     TestScript/exec_errors
//	the smoke bundle, two scenarios             TestScript/exec_acceptance
//	a pull from a registry that misbehaves      modelops-bundle/bundleoci: TestPullFaults, which lists the rows
//
// What bounds a fork bomb (proc017) is the control group's limit, docs/worker.md: here it
// bounds itself, and is killed whole.
func hostileRows(notes, bundle string) map[string]hostile {
	frame := func(head string) string { return fmt.Sprintf("os.write(201, %s); time.sleep(1000)", head) }
	child := fmt.Sprintf("\nif os.fork() == 0:\n    open(%q + '/%%d.pid' %% os.getpid(), 'w').close(); time.sleep(1000)\nwhile not os.listdir(%q): time.sleep(0.01)\n", notes, notes)
	daemon := fmt.Sprintf("\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    open(%q + '/%%d.pid' %% os.getpid(), 'w').close(); time.sleep(1000)\nwhile not os.listdir(%q): time.sleep(0.01)\n", notes, notes)
	bomb := fmt.Sprintf("\nfor n in range(100):\n    if os.fork() == 0:\n        n %% 2 and os.setsid(); open(%q + '/%%d.pid' %% os.getpid(), 'w').close(); time.sleep(1000)\ntime.sleep(1000)", notes)
	return map[string]hostile{
		"proc001 a valid result":                {do: "pass"},
		"proc002 exit 1 after a traceback":      {do: "sys.stderr.write('ValueError: the reason\\n'); os._exit(1)", code: contracts.CodeExit, says: "exit code 1", tail: "ValueError: the reason"},
		"proc003 exit 1 after 100 MB on stderr": {do: "[os.write(2, b'e' * 65536) for _ in range(1600)]; os._exit(1)", code: contracts.CodeExit, says: "exit code 1", tail: "bytes left out"},
		"proc004 100 MB on stdout":              {do: "[os.write(1, b'o' * 65536) for _ in range(1600)]"},
		"proc006 binary on stderr":              {do: "os.write(2, b'\\xff\\x00\\x1b[31m'); raise ValueError('no')", code: contracts.CodeModel, tail: "\\xff\x00\x1b[31m"},
		"proc009 somebody's SIGKILL":            {do: "os.kill(os.getpid(), signal.SIGKILL)", code: contracts.CodeSignal, says: "SIGKILL", retry: true},
		"proc010 exit 137 by itself":            {do: "os._exit(137)", code: contracts.CodeExit, says: "exit code 137"},
		"proc011 a child keeps the streams":     {do: child + "os._exit(3)", code: contracts.CodeExit, says: "exit code 3", within: 20 * time.Second},
		"proc012 a daemon of its own session":   {do: daemon + "os._exit(4)", code: contracts.CodeExit, says: "exit code 4"},
		"proc013 ignores SIGTERM":               {do: "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s"},
		"proc014 sleeps for ever":               {do: "time.sleep(1000)", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s"},
		"proc015 a busy loop":                   {do: "\nwhile True: pass", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s"},
		"proc016 stops itself":                  {do: "os.kill(os.getpid(), signal.SIGSTOP)", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s"},
		"proc017 many forks":                    {do: bomb, code: contracts.CodeTimeout, timeout: "3s"},
		"proc019 a full disk":                   {do: "f = open('/dev/full', 'wb', 0); f.write(b'x')", code: contracts.CodeModel, says: "No space left"},
		"proc020 allocates 1 TiB":               {do: "bytearray(1 << 40)", code: contracts.CodeModel},
		"proc022 writes into the bundle":        {do: fmt.Sprintf("os.chmod(%q, 0o700); os.chmod(%q + '/wire.py', 0o600); open(%q + '/wire.py', 'a').write('0/0')", bundle, bundle, bundle)},
		"proc023 deletes the bundle":            {do: fmt.Sprintf("import shutil; os.chmod(%q, 0o700); shutil.rmtree(%q)", bundle, bundle)},
		"proc027 a loss that is no number":      {do: "outputs.update(loss=float('nan'))", code: contracts.CodeOutput, says: "not bytes"},
		"proc028 a length of 999999999999":      {do: frame(`b"Content-Length: 999999999999\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"proc028 a length of -1":                {do: frame(`b"Content-Length: -1\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"proc028 a length of abc":               {do: frame(`b"Content-Length: abc\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"proc028 no length":                     {do: frame(`b"Content-Type: x\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"an answer that is no JSON":             {do: frame(`b"Content-Length: 2\r\n\r\n{]"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"an answer to another request":          {do: frame(`b'Content-Length: 38\r\n\r\n{"jsonrpc":"2.0","id":77,"result":{} } '`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"huge JSON":                             {do: frame(`b"Content-Length: 100000000\r\n\r\n"`), code: contracts.CodeProtocol, says: "over the limit", within: 20 * time.Second},
		"proc031 an output that is a link":      {do: "os.symlink('/etc/shadow', os.environ['MODELOPS_OUTPUT_DIR'] + '/x')", code: contracts.CodeOutput, says: "symbolic link"},
		"proc032 an output that is too large":   {do: "outputs.update(x=b'x' * 11_000_000)", code: contracts.CodeOutput, says: "may have 10000000"},
		"proc032 a file that is too large":      {do: "open(os.environ['MODELOPS_OUTPUT_DIR'] + '/x', 'wb').truncate(10 << 30)", code: contracts.CodeOutput, says: "may have 10000000"},
		"a thread that never ends":              {do: "import threading; threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)]).start()"},
		"a wire that closes all descriptors":    {do: "os.closerange(0, 4096); time.sleep(1000)", code: contracts.CodeProtocol, within: 30 * time.Second},
		"a fork that answers":                   {do: "os.fork()"},
		"exit code 0 before the answer":         {do: "os._exit(0)", code: contracts.CodeExit, says: "exit code 0 before it answered"},
		"sys.exit":                              {do: "sys.exit(0)", code: contracts.CodeExit, says: "sys.exit(0)"},
		"an exception of 100 MB":                {do: "raise ValueError('x' * 100_000_000)", code: contracts.CodeModel},
		"an exception without a text":           {do: "\nclass E(Exception):\n    def __str__(self): raise KeyError\nraise E()", code: contracts.CodeModel},
		"a crash in native code":                {do: "os.kill(os.getpid(), signal.SIGSEGV)", code: contracts.CodeSignal, says: "SIGSEGV", tail: "Segmentation fault"},
		"a replaced json module":                {do: "import json; json.dumps = json.loads = None"},
	}
}

// TestHostileProcesses runs each in a process that had a task before. Its error names what
// happened, and once; the next task has a bundle and a process as if nothing had been, and
// of what it started nothing is left once its process is gone.
func TestHostileProcesses(t *testing.T) {
	h := newHost(t)
	h.environ = append(h.environ, "MODELOPS_OUTPUT_MAX_BYTES=10000000")
	ref := bundletest.Push(t, h.registry, "my-model", bundletest.Files{"wire.py": "print('imported')\n" + does})
	d := h.serve("--slots", "1", "--quiet")
	if first := d.run(doing(ref, "pass", 1<<64-1), ""); first.Error != nil || string(first.Outputs["seed"].Inline) != "18446744073709551615" {
		t.Fatalf("%+v", first)
	}
	bundles, err := filepath.Glob(h.path("cache/bundles/*"))
	if err != nil || len(bundles) != 1 {
		t.Fatalf("%v, %v", bundles, err)
	}
	notes := h.path("notes")
	for name, row := range hostileRows(notes, bundles[0]) {
		t.Run(name, func(t *testing.T) {
			_ = os.RemoveAll(notes)
			if err := os.Mkdir(notes, 0o700); err != nil {
				t.Fatal(err)
			}
			task := doing(ref, row.do, 1)
			if row.timeout != "" {
				task.Resources = &contracts.Resources{Timeout: row.timeout}
			}
			began := time.Now()
			result := d.run(task, "")
			if row.within > 0 && time.Since(began) > row.within {
				t.Errorf("it took %s", time.Since(began))
			}
			row.check(t, result)
			if row.code != "" {
				allGone(t, notes)
			}
			next := d.run(doing(ref, "pass", 2), "")
			if next.Error != nil || string(next.Outputs["seed"].Inline) != "2" {
				t.Errorf("the next task: %+v", next.Error)
			}
		})
	}
	if kib := peakOf(t, d.cmd.Process.Pid); kib > 400<<10 {
		t.Errorf("the worker used up to %d KiB", kib)
	}
	allGone(t, notes)
}

func (row hostile) check(t *testing.T, result *contracts.SimReturn) {
	t.Helper()
	e := result.Error
	switch {
	case e == nil && row.code == "":
		return
	case e == nil || row.code == "" || e.Code != row.code:
		t.Errorf("got %+v, want %q", e, row.code)
		return
	}
	if !strings.Contains(e.Message, row.says) || !strings.Contains(e.StderrTail, row.tail) || e.Retryable != row.retry {
		t.Errorf("got %q, retryable %v, tail %.200q", e.Message, e.Retryable, e.StderrTail)
	}
	if len(e.Message)+len(e.Traceback)+len(e.StderrTail) > 256<<10 || len(result.Outputs) != 0 {
		t.Error("the error is too large, or has outputs")
	}
}

// peakOf is the most memory that a process had, in KiB; 0 where that is not known.
func peakOf(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	return 0
}
