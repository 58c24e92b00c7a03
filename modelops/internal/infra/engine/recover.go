package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
)

// Pending is an operation that an update had begun and whose end nobody recorded.
type Pending struct {
	URN, Name, Type string
	Doing           string         // creating, updating, deleting, reading, importing
	ID              string         // the provider's; empty while creating
	Inputs          map[string]any // secrets in it are encrypted
}

// String is "creating registry (azure-native:containerregistry:Registry)".
func (p Pending) String() string { return fmt.Sprintf("%s %s (%s)", p.Doing, p.Name, p.Type) }

// Recovery is what became of it.
type Recovery struct {
	Pending
	Adopted bool // it exists, and is in the state now
}

// deployment is the part of an exported state that is looked at.
type deployment struct {
	Resources []resourceState `json:"resources"`
	Pending   []struct {
		Resource resourceState `json:"resource"`
		Type     string        `json:"type"`
	} `json:"pending_operations"`
}

type resourceState struct {
	URN     string         `json:"urn"`
	Type    string         `json:"type"`
	ID      string         `json:"id"`
	Custom  bool           `json:"custom"`
	Protect bool           `json:"protect"`
	Inputs  map[string]any `json:"inputs"`
	Outputs map[string]any `json:"outputs"`
}

func (d *deployment) pending() []Pending {
	var pending []Pending
	for _, op := range d.Pending {
		r := op.Resource
		pending = append(pending, Pending{URN: r.URN, Name: urnName(r.URN), Type: r.Type, Doing: op.Type, ID: r.ID, Inputs: r.Inputs})
	}
	return pending
}

// export is the state as it is kept, secrets encrypted. (The SDK's export decrypts them.)
func (e *Engine) export(ctx context.Context, c *connection) (*deployment, error) {
	out, err := c.run(ctx, "stack", "export", "--stack", c.stack.Name)
	if err != nil {
		return nil, e.explain(ctx, c, "read", err, nil)
	}
	var exported struct{ Deployment deployment }
	if err := json.Unmarshal([]byte(out), &exported); err != nil {
		return nil, (&contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("the state of stack %s is not understood", c.stack.Name)}).Because(err)
	}
	return &exported.Deployment, nil
}

// mend settles what an interrupted update left: what was being created is adopted if it
// is there, everything else is compared with the cloud.
func (e *Engine) mend(ctx context.Context, c *connection) ([]Recovery, error) {
	before, err := e.export(ctx, c)
	if err != nil {
		return nil, err
	}
	pending := before.pending()
	if len(pending) == 0 {
		return nil, nil
	}
	options := []optrefresh.Option{optrefresh.ClearPendingCreates(), optrefresh.SuppressProgress()}
	var imports []optrefresh.PendingCreate
	for _, p := range pending {
		e.config.Note(fmt.Sprintf("an earlier run ended while %s; looking at what there is", p))
		if p.Doing == "creating" && c.stack.Identify != nil {
			if id := c.stack.Identify(p); id != "" {
				imports = append(imports, optrefresh.PendingCreate{URN: p.URN, ID: id})
			}
		}
	}
	if len(imports) > 0 {
		options = append(options, optrefresh.ImportPendingCreates(imports))
	}
	if _, err := e.operate(ctx, c, "recovery", func(w *watcher) error {
		_, err := c.auto.Refresh(context.WithoutCancel(ctx), append(options, optrefresh.EventStreams(w.events))...)
		return err
	}); err != nil {
		return nil, err
	}
	after, err := e.export(ctx, c)
	if err != nil {
		return nil, err
	}
	var recovered []Recovery
	for _, p := range pending {
		adopted := slices.ContainsFunc(after.Resources, func(r resourceState) bool { return r.URN == p.URN && r.ID != "" })
		recovered = append(recovered, Recovery{Pending: p, Adopted: adopted && p.Doing == "creating"})
	}
	return recovered, nil
}

// snapshotsKept is how many states are kept, one from before each update.
const snapshotsKept = 10

// snapshot keeps a copy of a state that lies on this machine.
func (e *Engine) snapshot(s Stack) error {
	if !e.config.Backend.local() {
		return nil // a bucket has versions
	}
	data, err := os.ReadFile(e.layout.stateOf(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return infra.Cannot("read", e.layout.stateOf(s), err)
	}
	dir := e.layout.snapshots(s)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return infra.Cannot("make", dir, err)
	}
	path := filepath.Join(dir, time.Now().UTC().Format("20060102T150405.000000000Z")+".json")
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return infra.Cannot("write", path, err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*Z.json"))
	if err != nil {
		return err
	}
	slices.Sort(kept) // by time
	for len(kept) > snapshotsKept {
		if err := os.Remove(kept[0]); err != nil {
			return infra.Cannot("remove", kept[0], err)
		}
		kept = kept[1:]
	}
	return nil
}
