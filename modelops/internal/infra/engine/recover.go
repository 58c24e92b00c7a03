package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

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
	Pending   []operation     `json:"pending_operations"`
}

type resourceState struct {
	URN     string `json:"urn"`
	Type    string `json:"type"`
	ID      string `json:"id"`
	Custom  bool   `json:"custom"`
	Protect bool   `json:"protect"`
}

// operation is one that was begun, in the state's own form.
type operation struct {
	Type     string         `json:"type"`
	Resource map[string]any `json:"resource"`
	Found    bool           `json:"found,omitempty"` // it is there, see Adopt
}

func (o operation) text(key string) string { s, _ := o.Resource[key].(string); return s }

func (o operation) pending() Pending {
	inputs, _ := o.Resource["inputs"].(map[string]any)
	return Pending{URN: o.text("urn"), Name: urnName(o.text("urn")), Type: o.text("type"), Doing: o.Type, ID: o.text("id"), Inputs: inputs}
}

// export is the state as it is kept, secrets encrypted. (The SDK's export decrypts them.)
func (e *Engine) export(ctx context.Context, c *connection) (*deployment, error) {
	out, err := c.run(ctx, nil, "stack", "export", "--stack", c.stack.Name)
	if err != nil {
		return nil, e.explain(ctx, c, "reading", err, nil)
	}
	var exported struct{ Deployment deployment }
	if err := json.Unmarshal([]byte(out), &exported); err != nil {
		return nil, notUnderstood(c, err)
	}
	return &exported.Deployment, nil
}

// mend settles what an interrupted update left: what was being created is adopted if it
// is there, everything else is compared with the cloud.
//
// The engine's own way, a refresh that "imports pending creates", forgets them without a
// look (3.255.0), and a later update then makes them twice or fails because they exist.
// So they are put into the state under the ID that they must have, and the refresh, which
// reads each of them, drops those that are not there. Changing the state makes the engine
// forget what was pending; a file remembers it until all is settled, so that mending that
// is interrupted begins again.
func (e *Engine) mend(ctx context.Context, c *connection) ([]Recovery, error) {
	state, err := e.export(ctx, c)
	if err != nil {
		return nil, err
	}
	unsettled, err := e.unsettled(c.stack, state)
	if err != nil || len(unsettled) == 0 {
		return nil, err
	}
	if err := e.remember(c.stack, unsettled); err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, op := range unsettled {
		p := op.pending()
		if op.Found {
			e.config.Note(fmt.Sprintf("%s (%s) is there already, and is taken up", p.Name, p.Type))
		} else {
			e.config.Note(fmt.Sprintf("an earlier run ended while %s; looking at what there is", p))
		}
		if p.Doing == "creating" && c.stack.Identify != nil {
			ids[p.URN] = c.stack.Identify(p)
		}
	}
	if err := e.edit(ctx, c, func(d map[string]any) { adopt(d, unsettled, ids) }); err != nil {
		return nil, err
	}
	if _, err := e.operate(ctx, c, "recovery", func(w *watcher) error {
		_, err := c.auto.Refresh(context.WithoutCancel(ctx), optrefresh.EventStreams(w.events), optrefresh.SuppressProgress(), optrefresh.SuppressOutputs(), optrefresh.ShowSecrets(false))
		return err
	}); err != nil {
		return nil, err
	}
	if state, err = e.export(context.WithoutCancel(ctx), c); err != nil {
		return nil, err
	}
	var recovered []Recovery
	for _, op := range unsettled {
		there := slices.ContainsFunc(state.Resources, func(r resourceState) bool { return r.URN == op.text("urn") && r.ID != "" })
		recovered = append(recovered, Recovery{Pending: op.pending(), Adopted: there && op.Type == "creating"})
	}
	return recovered, e.remember(c.stack, nil)
}

// unsettled are the operations whose end nobody knows: those that the state says are
// pending, and those that were remembered.
func (e *Engine) unsettled(s Stack, state *deployment) ([]operation, error) {
	data, err := os.ReadFile(e.layout.unsettled(s))
	if errors.Is(err, fs.ErrNotExist) {
		return state.Pending, nil
	}
	if err != nil {
		return nil, infra.Cannot("read", e.layout.unsettled(s), err)
	}
	var remembered []operation
	if err := json.Unmarshal(data, &remembered); err != nil {
		return nil, (&contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("%s is damaged; it names what an interrupted run may have made", contracts.Quote(e.layout.unsettled(s))),
			Hint:    "compare the cloud with mops infra status, then remove the file"}).Because(err)
	}
	all := slices.Clone(state.Pending)
	for _, op := range remembered {
		if !slices.ContainsFunc(all, func(o operation) bool { return o.text("urn") == op.text("urn") }) {
			all = append(all, op)
		}
	}
	return all, nil
}

// remember keeps operations until they are settled; none removes the file.
func (e *Engine) remember(s Stack, operations []operation) error {
	path := e.layout.unsettled(s)
	if len(operations) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return infra.Cannot("remove", path, err)
		}
		return nil
	}
	data, err := json.Marshal(operations)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return infra.Cannot("make", filepath.Dir(path), err)
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return infra.Cannot("write", path, err)
	}
	return nil
}

// creation is one whose provider went away. The engine takes it for failed and forgets
// it, though it may have been made. Secrets are blotted out of its inputs; the refresh
// reads them anew.
func creation(state *apitype.StepEventStateMetadata) operation {
	return operation{Type: "creating", Resource: map[string]any{
		"urn": state.URN, "type": state.Type, "custom": true, "parent": state.Parent, "provider": state.Provider,
		"protect": state.Protect, "inputs": state.Inputs,
	}}
}

// adopt puts those that were being created among the resources of a deployment, by the
// IDs that are known for their URNs. What they depend on is there: the engine had made it.
func adopt(deployment map[string]any, unsettled []operation, ids map[string]string) {
	resources, _ := deployment["resources"].([]any)
	there := map[any]bool{}
	for _, r := range resources {
		r, _ := r.(map[string]any)
		there[r["urn"]] = true
	}
	for _, op := range unsettled {
		urn := op.text("urn")
		if op.Type != "creating" || ids[urn] == "" || there[urn] {
			continue
		}
		made := maps.Clone(op.Resource)
		made["id"] = ids[urn]
		resources = append(resources, made)
	}
	deployment["resources"] = resources
}

// edit changes the state as it is kept, secrets encrypted.
func (e *Engine) edit(ctx context.Context, c *connection, change func(deployment map[string]any)) error {
	out, err := c.run(ctx, nil, "stack", "export", "--stack", c.stack.Name)
	if err != nil {
		return e.explain(ctx, c, "reading", err, nil)
	}
	var state map[string]any
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&state); err != nil {
		return notUnderstood(c, err)
	}
	deployment, ok := state["deployment"].(map[string]any)
	if !ok {
		return notUnderstood(c, errors.New("no deployment"))
	}
	change(deployment)
	edited, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if _, err := c.run(ctx, bytes.NewReader(edited), "stack", "import", "--stack", c.stack.Name); err != nil {
		return e.explain(ctx, c, "recovery", err, nil)
	}
	return nil
}

func notUnderstood(c *connection, err error) error {
	return (&contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageProvision,
		Message: fmt.Sprintf("the state of stack %s is not understood", c.stack.Name)}).Because(err)
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
