//go:build unix

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// registry is Debian's docker-registry in a process of its own, empty at first, with its
// files in memory where the machine has /dev/shm. Its access log counts the requests.
type registry struct {
	host    string
	dir     string
	log     string
	read    int64 // of the log
	process *exec.Cmd
}

func startRegistry() (*registry, error) {
	memory := "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		memory = ""
	}
	dir, err := os.MkdirTemp(memory, "bench-registry-")
	if err != nil {
		return nil, err
	}
	r := &registry{dir: dir, log: filepath.Join(dir, "log")}
	if err := r.start(); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *registry) start() error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.host = free.Addr().String()
	free.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %s}\n", r.dir, r.host)
	file := filepath.Join(r.dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(r.log)
	if err != nil {
		return err
	}
	defer log.Close()
	r.process = exec.Command("docker-registry", "serve", file)
	r.process.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	r.process.Stdout = log
	if err := r.process.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", r.host)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("docker-registry does not answer: %w", err)
		}
	}
}

// requests is how many there were since it was last asked.
func (r *registry) requests() (int, error) {
	data, err := os.ReadFile(r.log)
	if err != nil {
		return 0, err
	}
	n := bytes.Count(data[r.read:], []byte(` HTTP/1.1" `))
	r.read = int64(len(data))
	return n, nil
}

func (r *registry) stop() {
	if r.process != nil && r.process.Process != nil {
		_ = r.process.Process.Kill()
		_ = r.process.Wait()
	}
	_ = os.RemoveAll(r.dir)
}
