package localdask

import (
	"context"
	_ "embed" // child.py
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
)

// child.py runs one of Dask's programs, and ends with this process, however that ends.
//
//go:embed child.py
var child []byte

const (
	startWithin = 40 * time.Second // for the scheduler to listen; less than a daemon may take to start
	lookEvery   = 50 * time.Millisecond
	restLeast   = time.Second // before a program that ended is started again
	restMost    = 30 * time.Second
	endWithin   = 15 * time.Second // for programs to end
	renewEvery  = time.Minute      // the certificate is looked at
)

// environ is set for Dask's programs over what its owner's configuration says. What the
// scheduler answers to browsers, whoever's they are, can be read and changes nothing.
func environ() []string {
	return append(os.Environ(), "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True",
		`DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES=["distributed.http.scheduler.info","distributed.http.scheduler.json","distributed.http.health","distributed.http.statics"]`)
}

// Serve is the cluster's process, see [daemon.Daemon.Serve].
func Serve(ctx context.Context, dir string, options daemon.Options, log *slog.Logger) error {
	c := Open(dir)
	return c.Daemon.Serve(ctx, options, &server{Cluster: c, log: log}, log)
}

// server keeps a scheduler and workers alive.
type server struct {
	*Cluster
	log                *slog.Logger
	scheduler, workers programs

	certifying sync.Mutex
}

// programs are kept running until they are ended together.
type programs struct {
	end context.CancelFunc // nil before there are any
	all sync.WaitGroup
}

// begin is the context of the programs, which ends when they are ended and not before.
func (p *programs) begin(ctx context.Context) context.Context {
	ctx, p.end = context.WithCancel(context.WithoutCancel(ctx))
	return ctx
}

func (p *programs) close() {
	if p.end != nil {
		p.end()
	}
	p.all.Wait()
}

// Prepare starts everything, and returns when the scheduler listens.
func (s *server) Prepare(ctx context.Context) error {
	spec, err := s.Spec()
	if err != nil {
		return err
	}
	if spec == nil {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision, Message: title + ": none was asked for", Hint: "mops infra up --with-dask"}
	}
	if err := s.choosePorts(spec); err != nil {
		return err
	}
	work := filepath.Join(s.Dir, "work")
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o700)); err != nil {
		return failed("make "+contracts.Quote(work), err)
	}
	if err := os.WriteFile(s.childPath(), child, 0o600); err != nil {
		return failed("write "+contracts.Quote(s.childPath()), err)
	}
	address, file := s.Compute(spec).Scheduler, s.certificatePath()
	secure := []string{"--protocol", "tls", "--tls-ca-file", file, "--tls-cert", file, "--tls-key", file}
	s.keep(s.scheduler.begin(ctx), &s.scheduler.all, "scheduler", spec.Python, "distributed.cli.dask_scheduler",
		append(secure, "--host", "127.0.0.1", "--port", strconv.Itoa(spec.Scheduler), "--dashboard-address", fmt.Sprintf("127.0.0.1:%d", spec.Dashboard)))
	if err := listens(ctx, spec.Scheduler); err != nil {
		return err
	}
	running := s.workers.begin(ctx)
	for n := range spec.Workers {
		name := fmt.Sprintf("worker-%d", n)
		s.keep(running, &s.workers.all, name, spec.Python, "distributed.cli.dask_worker", append(secure,
			address, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--name", name,
			"--nthreads", strconv.Itoa(spec.Threads), "--nworkers", "1", "--local-directory", filepath.Join(work, name), "--resources", spec.resources()))
	}
	return nil
}

func (s *server) childPath() string { return filepath.Join(s.Dir, "work", "child.py") }

// resources are a worker's, as tasks ask for them.
func (s *Spec) resources() string {
	text := fmt.Sprintf("cores=%d", s.Threads)
	if s.Memory > 0 {
		text += fmt.Sprintf(" memory=%d", s.Memory)
	}
	return text
}

// choosePorts takes the ports of before where they can be had, so that the environment
// file stays true, and writes down which they are.
func (s *server) choosePorts(spec *Spec) error {
	for _, port := range []*int{&spec.Scheduler, &spec.Dashboard} {
		listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
		if err != nil {
			s.log.Warn("the port cannot be had: taking a free one", "port", *port, "reason", err)
			if listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
				return failed("listen on 127.0.0.1", err)
			}
		}
		defer listener.Close() // not before both are chosen
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return s.write(spec)
}

// listens waits until somebody listens on the port.
func listens(ctx context.Context, port int) error {
	patience, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-patience.Done():
			if ctx.Err() != nil { // told to end
				return context.Cause(ctx)
			}
			return failed("start the scheduler", fmt.Errorf("it does not listen within %s", startWithin))
		case <-ticker.C:
		}
	}
}

// keep runs a program, again and again, until ctx ends.
func (s *server) keep(ctx context.Context, all *sync.WaitGroup, name, python, module string, args []string) {
	all.Go(func() {
		rest := restLeast
		for {
			began := time.Now()
			err := s.run(ctx, python, module, args)
			if ctx.Err() != nil {
				return
			}
			if time.Since(began) > restMost {
				rest = restLeast
			}
			s.log.Warn("a program ended, and is started again", "program", name, "reason", err, "in", rest)
			select {
			case <-ctx.Done():
				return
			case <-time.After(rest):
			}
			rest = min(2*rest, restMost)
		}
	})
}

// errRenewed is why a program ended that has a new certificate to be started with.
var errRenewed = errors.New("its certificate is to be renewed")

// run runs a program with a certificate that is good, for as long as it is.
func (s *server) run(ctx context.Context, python, module string, args []string) error {
	s.certifying.Lock() // the first to come makes it for all
	renew, err := certify(s.certificatePath(), time.Now())
	s.certifying.Unlock()
	if err != nil {
		return failed("make "+contracts.Quote(s.certificatePath()), err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go cancelAt(ctx, cancel, renew, renewEvery)
	if err := s.runOnce(ctx, python, module, args); context.Cause(ctx) == nil {
		return err
	}
	return context.Cause(ctx)
}

// cancelAt ends a context at a time by the clock on the wall, which goes on while a machine
// sleeps.
func cancelAt(ctx context.Context, cancel context.CancelCauseFunc, end time.Time, look time.Duration) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if time.Now().Round(0).After(end) {
				cancel(errRenewed)
			}
		}
	}
}

func (s *server) runOnce(ctx context.Context, python, module string, args []string) error {
	cmd := exec.CommandContext(ctx, python, append([]string{s.childPath(), module}, args...)...)
	cmd.Dir, cmd.Env = s.Dir, environ()
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	in, owned, err := os.Pipe() // its end is this process's, and the sign for the program to end
	if err != nil {
		return err
	}
	defer owned.Close()
	cmd.Stdin = in
	cmd.Cancel = owned.Close
	cmd.WaitDelay = endWithin
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// Routes adds nothing: the cluster has ports of its own.
func (s *server) Routes(*http.ServeMux) {}

// Close ends everything: workers that have lost their scheduler take long to end.
func (s *server) Close() error {
	s.workers.close()
	s.scheduler.close()
	return nil
}
