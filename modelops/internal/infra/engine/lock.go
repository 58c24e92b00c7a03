package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine/pulumicli"
)

// Lock is the engine's lock of a stack. It has no end: an engine that is killed leaves it.
type Lock struct {
	User, Host string
	PID        int
	Since      time.Time
	Running    bool // a pulumi of that number runs on this machine, which is the holder's
}

// String says who holds it.
func (l Lock) String() string {
	s := fmt.Sprintf("%s on %s (pid %d) since %s", contracts.Quote(l.User), contracts.Quote(l.Host), l.PID, l.Since.UTC().Format(time.RFC3339))
	switch host, _ := os.Hostname(); {
	case l.Running:
		s += ", which is running"
	case l.Host == host:
		s += ", which has ended"
	}
	return s
}

// lockedText is how the engine says that a stack is locked.
const lockedText = "the stack is currently locked by"

// locksIn are the holders that the engine names.
func locksIn(stderr string) []Lock {
	var locks []Lock
	for _, m := range regexp.MustCompile(`created by (\S+)@(\S+) \(pid (\d+)\) at (\S+)`).FindAllStringSubmatch(stderr, -1) {
		pid, _ := strconv.Atoi(m[3])
		since, _ := time.Parse(time.RFC3339, m[4])
		locks = append(locks, lockBy(m[1], m[2], pid, since))
	}
	return locks
}

func lockBy(user, host string, pid int, since time.Time) Lock {
	here, err := os.Hostname()
	return Lock{User: user, Host: host, PID: pid, Since: since, Running: err == nil && host == here && pulumicli.Runs(pid)}
}

// locks are those of a stack whose state is on this machine.
func (e *Engine) locks(s Stack) ([]Lock, error) {
	paths, err := filepath.Glob(filepath.Join(e.layout.engineLocks(s), "*.json"))
	if err != nil || !e.config.Backend.local() {
		return nil, err
	}
	var locks []Lock
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		if err != nil {
			return nil, infra.Cannot("read", path, err)
		}
		var content struct {
			PID       int
			Username  string
			Hostname  string
			Timestamp time.Time
		}
		if err := json.Unmarshal(data, &content); err != nil { // half written: held, by nobody that can be named
			content.Username, content.Hostname = "unknown", "unknown"
		}
		locks = append(locks, lockBy(content.Username, content.Hostname, content.PID, content.Timestamp))
	}
	return locks, nil
}

// locked is the error for a stack that somebody holds.
func (e *Engine) locked(s Stack, locks []Lock) error {
	holders := make([]string, len(locks))
	hint := "wait for it to end; if its holder is gone for good: mops infra unlock"
	for i, l := range locks {
		holders[i] = l.String()
		if l.Running {
			hint = "wait for it to end"
		}
	}
	if len(holders) == 0 {
		holders = []string{"somebody"}
	}
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision, Retryable: true,
		Message: fmt.Sprintf("stack %s is locked by %s", s.Name, strings.Join(holders, "; ")), Hint: hint}
}

// hold takes this machine's lock of a stack, which ends with the process.
func (e *Engine) hold(s Stack) (release func(), err error) {
	path := e.layout.lock(s)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, infra.Cannot("make", filepath.Dir(path), err)
	}
	lock := flock.New(path)
	held, err := lock.TryLock()
	if err != nil {
		return nil, infra.Cannot("lock", path, err)
	}
	if !held {
		return nil, &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision, Retryable: true,
			Message: fmt.Sprintf("another mops on this machine is changing stack %s", s.Name), Hint: "wait for it to end"}
	}
	return func() { _ = lock.Unlock() }, nil
}

// Unlock breaks the locks of a stack and returns them. It refuses to while a holder runs
// on this machine.
func (e *Engine) Unlock(ctx context.Context, s Stack) ([]Lock, error) {
	if err := e.check(s); err != nil {
		return nil, err
	}
	release, err := e.hold(s)
	if err != nil {
		return nil, err
	}
	defer release()
	locks, err := e.locks(s)
	if err != nil {
		return nil, err
	}
	if err := e.idle(s, locks); err != nil {
		return nil, err
	}
	c, err := e.connect(ctx, s, reading)
	if err != nil {
		return nil, err
	}
	return e.unlock(ctx, c)
}

func (e *Engine) unlock(ctx context.Context, c *connection) ([]Lock, error) {
	locks, err := e.locks(c.stack)
	if err != nil {
		return nil, err
	}
	if e.config.Backend.local() && len(locks) == 0 {
		return nil, nil
	}
	if err := c.auto.Cancel(ctx); err != nil {
		return nil, e.explain(ctx, c, "unlock", err, nil)
	}
	return locks, nil
}

// idle makes sure that no engine works on a stack, whose state is then made whole.
func (e *Engine) idle(s Stack, locks []Lock) error {
	for _, l := range locks {
		if l.Running {
			return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
				Message: fmt.Sprintf("stack %s is locked by %s", s.Name, l), Hint: fmt.Sprintf("wait for it, or end it first: kill -INT %d", l.PID)}
		}
	}
	return e.repair(s)
}
