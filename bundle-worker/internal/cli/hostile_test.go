//go:build unix

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
// names begin with those of testdata/hostile/worker_processes.json; the others are the
// protocol's faults.
type hostile struct {
	do      string
	code    contracts.Code // of its error; "" for none
	says    string         // in its error
	tail    string         // in what is kept of its output
	retry   bool
	timeout string
	memory  string
	command bool          // a command can do it, too
	within  time.Duration // at most, if it is given: what would take longer waits for something that does not come
}

// elsewhere are the rows of the list that are held in another place: the file, and what it
// says when it still does.
func elsewhere() map[string][2]string {
	const worker = "../../../docs/worker.md"
	return map[string][2]string{
		"proc024": {"testdata/script/exec_secrets.txtar", "env AZURE_CLIENT_SECRET=CANARY"},
		"proc025": {worker, "not put credentials into files on a worker"},
		"proc026": {worker, "169.254.169.254"},
		"proc033": {"testdata/script/exec_repeat.txtar", "differs between run 1 and run 2"},
		"proc035": {"drain_test.go", "func TestServeDrain("},
	}
}

// TestHostileList has a test for each row of the list of hostile processes.
func TestHostileList(t *testing.T) {
	data, err := os.ReadFile("testdata/hostile/worker_processes.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ ID, Behaviour, Want string }
	if err := json.Unmarshal(data, &list); err != nil || len(list) == 0 {
		t.Fatalf("%d rows, %v", len(list), err)
	}
	held := map[string]bool{}
	for name := range hostileRows("", "") {
		id, _, _ := strings.Cut(name, " ")
		held[id] = true
	}
	for id, where := range elsewhere() {
		text, err := os.ReadFile(where[0])
		if err != nil || !strings.Contains(string(text), where[1]) {
			t.Errorf("%s: %s does not say %q: %v", id, where[0], where[1], err)
		}
		held[id] = true
	}
	for _, row := range list {
		if !held[row.ID] {
			t.Errorf("nothing holds %s: %s: %s", row.ID, row.Behaviour, row.Want)
		}
	}
}

// What bounds a fork bomb (proc017) is the control group's limit, docs/worker.md: here it
// bounds itself, and is killed whole.
func hostileRows(notes, bundle string) map[string]hostile {
	frame := func(head string) string { return fmt.Sprintf("os.write(201, %s); time.sleep(1000)", head) }
	child := fmt.Sprintf("\nif os.fork() == 0:\n    open(%q + '/%%d.pid' %% os.getpid(), 'w').close(); time.sleep(1000)\nwhile len(os.listdir(%q)) < 2: time.sleep(0.01)\n", notes, notes)
	daemon := fmt.Sprintf("\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    open(%q + '/%%d.pid' %% os.getpid(), 'w').close(); time.sleep(1000)\nwhile len(os.listdir(%q)) < 2: time.sleep(0.01)\n", notes, notes)
	bomb := fmt.Sprintf("\nfor n in range(100):\n    if os.fork() == 0:\n        n %% 2 and os.setsid(); open(%q + '/%%d.pid' %% os.getpid(), 'w').close(); time.sleep(1000)\ntime.sleep(1000)", notes)
	return map[string]hostile{
		"proc001 a valid result":               {do: "pass", command: true},
		"proc002 exit 1 after a traceback":     {do: "sys.stderr.write('ValueError: the reason\\n'); os._exit(1)", code: contracts.CodeExit, says: "exit code 1", tail: "ValueError: the reason", command: true},
		"proc003 exit 1 after 1 GiB on stderr": {do: "[os.write(2, b'e' * 65536) for _ in range(16384)]; os._exit(1)", code: contracts.CodeExit, says: "exit code 1", tail: "bytes left out", command: true},
		"proc004 1 GiB on stdout":              {do: "[os.write(1, b'o' * 65536) for _ in range(16384)]", command: true},
		"proc006 binary on stderr":             {do: "os.write(2, b'\\xff\\x00\\x1b[31m'); raise ValueError('no')", code: contracts.CodeModel, tail: "\\xff\x00\x1b[31m"},
		"proc009 somebody's SIGKILL":           {do: "os.kill(os.getpid(), signal.SIGKILL)", code: contracts.CodeSignal, says: "SIGKILL", retry: true, command: true},
		"proc010 exit 137 by itself":           {do: "os._exit(137)", code: contracts.CodeExit, says: "exit code 137", command: true},
		"proc011 a child keeps the streams":    {do: child + "os._exit(3)", code: contracts.CodeExit, says: "exit code 3", within: 20 * time.Second, command: true},
		"proc012 a daemon of its own session":  {do: daemon + "os._exit(4)", code: contracts.CodeExit, says: "exit code 4", command: true},
		"proc013 ignores SIGTERM":              {do: "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s", command: true},
		"proc014 sleeps for ever":              {do: "time.sleep(1000)", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s", command: true},
		"proc015 a busy loop":                  {do: "\nwhile True: pass", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s", command: true},
		"proc016 stops itself":                 {do: "os.kill(os.getpid(), signal.SIGSTOP)", code: contracts.CodeTimeout, says: "time limit of 1s", timeout: "1s", command: true},
		"proc017 many forks":                   {do: bomb, code: contracts.CodeTimeout, timeout: "3s", command: true},
		"proc019 a full disk":                  {do: "f = open('/dev/full', 'wb', 0); f.write(b'x')", code: contracts.CodeModel, says: "No space left"},
		"proc020 allocates 1 TiB":              {do: "bytearray(1 << 40)", code: contracts.CodeModel},
		"proc020 and more than it may":         {do: daemon + "kept = bytearray(b'x') * (300 << 20); time.sleep(1000)", code: contracts.CodeOutOfMemory, says: "limit is 100 MiB", memory: "100Mi", command: true},
		"proc022 writes into the bundle":       {do: fmt.Sprintf("os.chmod(%q, 0o700); os.chmod(%q + '/wire.py', 0o600); open(%q + '/wire.py', 'a').write('0/0')", bundle, bundle, bundle), command: true},
		"proc023 deletes the bundle":           {do: fmt.Sprintf("import shutil; os.chmod(%q, 0o700); shutil.rmtree(%q)", bundle, bundle), command: true},
		"proc027 a loss that is no number":     {do: "outputs.update(loss=float('nan'))", code: contracts.CodeOutput, says: "not bytes"},
		"proc028 a length of 999999999999":     {do: frame(`b"Content-Length: 999999999999\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"proc028 a length of -1":               {do: frame(`b"Content-Length: -1\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"proc028 a length of abc":              {do: frame(`b"Content-Length: abc\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"proc028 no length":                    {do: frame(`b"Content-Type: x\r\n\r\n"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"an answer that is no JSON":            {do: frame(`b"Content-Length: 2\r\n\r\n{]"`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"an answer to another request":         {do: frame(`b'Content-Length: 38\r\n\r\n{"jsonrpc":"2.0","id":77,"result":{} } '`), code: contracts.CodeProtocol, within: 20 * time.Second},
		"huge JSON":                            {do: frame(`b"Content-Length: 100000000\r\n\r\n"`), code: contracts.CodeProtocol, says: "over the limit", within: 20 * time.Second},
		"proc031 an output that is a link":     {do: "os.symlink('/etc/shadow', os.environ['MODELOPS_OUTPUT_DIR'] + '/x')", code: contracts.CodeOutput, says: "symbolic link", command: true},
		"proc032 an output that is too large":  {do: "outputs.update(x=b'x' * 11_000_000)", code: contracts.CodeOutput, says: "may have 10000000", command: true},
		"proc032 a file that is too large":     {do: "open(os.environ['MODELOPS_OUTPUT_DIR'] + '/x', 'wb').truncate(10 << 30)", code: contracts.CodeOutput, says: "may have 10000000", command: true},
		"a thread that never ends":             {do: "import threading; threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)]).start()"},
		"a wire that closes all descriptors":   {do: "os.closerange(0, 4096); time.sleep(1000)", code: contracts.CodeProtocol, within: 30 * time.Second},
		"a fork that answers":                  {do: "os.fork()"},
		"exit code 0 before the answer":        {do: "os._exit(0)", code: contracts.CodeExit, says: "exit code 0 before it answered"},
		"sys.exit":                             {do: "sys.exit(0)", code: contracts.CodeExit, says: "sys.exit(0)"},
		"an exception of 100 MB":               {do: "raise ValueError('x' * 100_000_000)", code: contracts.CodeModel},
		"an exception without a text":          {do: "\nclass E(Exception):\n    def __str__(self): raise KeyError\nraise E()", code: contracts.CodeModel},
		"a crash in native code":               {do: "os.kill(os.getpid(), signal.SIGSEGV)", code: contracts.CodeSignal, says: "SIGSEGV", tail: "Segmentation fault", command: true},
		"a replaced json module":               {do: "import json; json.dumps = json.loads = None"},
	}
}

// TestHostileProcesses runs each in a process that had a task before. Its error names what
// happened, and once; the next task has a bundle and a process as if nothing had been, and
// of what it started nothing is left once its process is gone.
func TestHostileProcesses(t *testing.T) {
	endureHostile(t, bundletest.Files{"wire.py": "print('imported')\n" + does}, func(hostile) bool { return true })
}

// TestHostileCommands does the same with a command, as far as that can do it: it has no
// connection with the worker, and its exceptions are exit codes.
func TestHostileCommands(t *testing.T) {
	endureHostile(t, bundletest.Files{
		"wire.py": "", ".modelops/manifest.json": `{"command": ["python3", "run.py"]}`,
		"run.py": `
import json, os, signal, subprocess, sys, time
task = json.load(sys.stdin)
outputs = {}
exec(task["params"]["values"]["do"])
for name, value in dict(outputs, seed=str(task["seed"]).encode()).items():
    open(os.path.join(os.environ["MODELOPS_OUTPUT_DIR"], name), "wb").write(value)
`}, func(row hostile) bool { return row.command })
}

// endureHostile has the bundle do what is in the rows that are chosen.
func endureHostile(t *testing.T, files bundletest.Files, chosen func(hostile) bool) {
	h := newHost(t)
	h.environ = append(h.environ, "MODELOPS_OUTPUT_MAX_BYTES=10000000")
	ref := bundletest.Push(t, h.registry, "my-model", files)
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
		if chosen(row) {
			t.Run(name, func(t *testing.T) { d.endure(t, ref, row, notes) })
		}
	}
	allGone(t, notes)
}

// endure runs a task that is hostile, and one after it.
func (d *daemon) endure(t *testing.T, ref contracts.BundleRef, row hostile, notes string) {
	_ = os.RemoveAll(notes)
	if err := os.Mkdir(notes, 0o700); err != nil {
		t.Fatal(err)
	}
	do := row.do
	if row.kills() {
		do = fmt.Sprintf("open(%q + '/%%d.pid' %% os.getpid(), 'w').close()\n", notes) + do
	}
	task := doing(ref, do, 1)
	if row.timeout != "" || row.memory != "" {
		task.Resources = &contracts.Resources{Timeout: row.timeout, Memory: row.memory}
	}
	used := d.forgetPeak()
	began := time.Now()
	result := d.run(task, "")
	if row.within > 0 && time.Since(began) > row.within {
		t.Errorf("it took %s", time.Since(began))
	}
	row.check(t, result)
	if more := d.peak() - used; more > mayUse {
		t.Errorf("the worker used %d KiB more", more)
	}
	if row.kills() && len(pids(t, notes)) == 0 {
		t.Error("it left no number of a process")
	}
	if row.code != "" {
		allGone(t, notes)
	}
	after := doing(ref, "pass", 2)
	after.Resources = &contracts.Resources{Memory: row.memory} // the same process, if it were there
	next := d.run(after, "")
	if next.Error != nil || string(next.Outputs["seed"].Inline) != "2" {
		t.Errorf("the next task: %+v", next.Error)
	}
	if count := string(next.Outputs["count"].Inline); row.kills() && count != "" && count != "1" {
		t.Errorf("the next task is number %s of a process that is gone", count)
	}
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

// kills says whether the task's process does not outlive it.
func (row hostile) kills() bool {
	switch row.code {
	case contracts.CodeSignal, contracts.CodeTimeout, contracts.CodeProtocol, contracts.CodeOutOfMemory:
		return true
	}
	return row.code == contracts.CodeExit && !strings.HasPrefix(row.do, "sys.exit")
}

// mayUse is what the worker itself may use for a task, in KiB, whatever that does.
const mayUse = 64 << 10

// forgetPeak has the kernel forget the most memory that the worker had. It answers with what
// it has now, in KiB; 0 where that is not known.
func (d *daemon) forgetPeak() int {
	d.Helper()
	err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.cmd.Process.Pid), []byte("5"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Fatal(err)
	}
	return d.status("VmRSS:")
}

func (d *daemon) peak() int { return d.status("VmHWM:") }

// status is a number of the kernel's about the worker, in KiB; 0 where there is none.
func (d *daemon) status(field string) int {
	d.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == field {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				d.Fatal(err)
			}
			return kib
		}
	}
	return 0
}
