package cloud

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/config"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
	"github.com/modelops-suite/modelops-go/modelops/internal/workspace"
)

// Workspace does what a command of mops workspace says, with the workspace of an
// environment.
func (Azure) Workspace(c *cli.Context, verb, home string, conf *config.Config, chosen *environment.Chosen) error {
	spec, err := workspace.NewSpec(conf.Workspace, chosen.Env)
	if err != nil {
		return err
	}
	if spec.Cluster, err = (infra.Clusters{Home: home}).Load(chosen.Name); err != nil {
		return err
	}
	w := &workspaceTarget{spec: spec, files: infra.Files{Home: home, Now: time.Now}, path: chosen.Path}
	if verb == "render" {
		return w.render(c)
	}
	if w.cluster, err = kube.Open(kube.Place{
		Getenv: command.EnvOf(c).Getenv, Context: spec.Context(), Namespace: spec.Namespace(),
		Warn: func(line string) { command.Warn(c, "%s", line) },
	}); err != nil {
		return err
	}
	command.Note(c, "namespace %s in %s", w.cluster.Namespace, w.where())
	return map[string]func(*cli.Context) error{"up": w.up, "status": w.status, "down": w.down, "dashboard": w.dashboard}[verb](c)
}

// workspaceTarget is the workspace that a command works on.
type workspaceTarget struct {
	spec    workspace.Spec
	objects []kube.Object
	cluster *kube.Cluster // nil for render
	files   infra.Files
	path    string // of the environment file
}

// ask makes the manifests, with the certificate that the cluster has, or, for up, with
// another when it is time.
func (w *workspaceTarget) ask(c *cli.Context, up bool) (held *workspace.Held, err error) {
	now := time.Now()
	if held, err = w.spec.Certify(c.Context, w.cluster, now); err != nil {
		return nil, err
	}
	if up {
		if err := w.spec.Renew(held, now, c.Bool("renew-certificate")); err != nil {
			return nil, err
		}
	}
	w.objects, err = workspace.Objects(w.spec)
	return held, err
}

func (w *workspaceTarget) where() string {
	if w.cluster.Context != "" {
		return "the cluster of context " + w.cluster.Context + ", " + w.cluster.Host()
	}
	return w.cluster.Host()
}

func (w *workspaceTarget) render(c *cli.Context) error {
	objects, err := workspace.Objects(w.spec)
	if err != nil {
		return err
	}
	secrets := c.Bool("show-secrets")
	if secrets {
		certificate, err := workspace.NewCertificate(w.spec, time.Now())
		if err != nil {
			return err
		}
		objects = slices.Insert(objects, 1, certificate) // into the namespace
		command.Note(c, "the certificate in the Secret %s is a new one each time: apply one, and keep it", workspace.Certificate)
	} else {
		command.Note(c, "the Secrets %s and %s are left out; --show-secrets prints them", workspace.Environment, workspace.Certificate)
	}
	documents := workspace.Documents(objects, secrets)
	text, err := workspace.YAML(documents)
	if err != nil {
		return err
	}
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": documents}
	return command.Print(c, list, func(out io.Writer) { _, _ = out.Write(text) })
}

// workspaceAnswer is the document of up and down.
type workspaceAnswer struct {
	Environment string             `json:"environment"`
	Namespace   string             `json:"namespace"`
	Context     string             `json:"context,omitempty"`
	Cluster     string             `json:"cluster"`
	DryRun      bool               `json:"dry_run"`
	Changes     []workspace.Change `json:"changes"`
	EnvFile     string             `json:"env_file"`
	FileState   infra.FileState    `json:"env_file_state"`
}

func (w *workspaceTarget) answer(c *cli.Context, changes []workspace.Change, file infra.FileState) error {
	a := workspaceAnswer{
		Environment: w.spec.Environment.Environment, Namespace: w.cluster.Namespace, Context: w.cluster.Context, Cluster: w.cluster.Host(),
		DryRun: c.Bool("dry-run"), Changes: changes, EnvFile: w.path, FileState: file,
	}
	return command.Print(c, a, func(out io.Writer) {
		rows := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, change := range changes {
			fmt.Fprintf(rows, "%s\t%s\t%s\n", change.Action, change.Kind, change.Name)
		}
		_ = rows.Flush() // into memory
		fmt.Fprintf(out, "environment %s: %s (%s)\n", a.Environment, a.EnvFile, a.FileState)
	})
}

// options are those of up and down; what happens is shown as it does.
func (w *workspaceTarget) options(c *cli.Context) workspace.Options {
	return workspace.Options{
		DryRun: c.Bool("dry-run"), Force: c.Bool("force"),
		Note: func(line string) { command.Note(c, "%s", line) },
	}
}

func (w *workspaceTarget) up(c *cli.Context) error {
	env := *w.spec.Environment
	env.Compute = w.spec.Compute()
	env.Compute.Kubernetes.Context = w.cluster.Context
	if err := w.mayWrite(&env, c.Bool("force")); err != nil {
		return err // before anything is made that nobody would find
	}
	if before := w.spec.Environment.Compute; before != nil && before.Scheduler != "" && before.Scheduler != env.Compute.Scheduler {
		command.Note(c, "jobs of this environment ran on %s, and run in this workspace from now on", before.Scheduler)
	}
	held, err := w.ask(c, true)
	if err != nil {
		return err
	}
	for _, line := range held.Words() {
		command.Warn(c, "%s", line)
	}
	changes, err := workspace.Up(c.Context, w.cluster, w.objects, w.options(c))
	if err != nil {
		for _, change := range changes { // what is there now all the same
			command.Note(c, "%s %s %s", change.Action, change.Kind, change.Name)
		}
		return err
	}
	if c.Bool("dry-run") {
		state, err := w.files.State(env.Environment, &env)
		if err != nil {
			return err
		}
		return w.answer(c, changes, state)
	}
	file, err := w.files.Publish(&env, c.Bool("force"))
	if err != nil {
		return err
	}
	return w.answer(c, changes, file)
}

// mayWrite is an error when the environment file is not to be changed unasked.
func (w *workspaceTarget) mayWrite(env *contracts.BundleEnvironment, force bool) error {
	err := w.files.Check(env.Environment, env)
	e := contracts.AsError(err)
	if e == nil || e.Code != contracts.CodeConflict {
		return err
	}
	if force {
		return nil
	}
	hinted := *e
	hinted.Hint = "--force writes into it where jobs run (compute), and keeps the rest"
	return hinted.Because(err)
}

func (w *workspaceTarget) status(c *cli.Context) error {
	held, err := w.ask(c, false)
	if err != nil {
		return err
	}
	state, err := workspace.Status(c.Context, w.cluster, w.objects, held)
	if err != nil {
		return err
	}
	if !state.Installed {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
			Message: "there is no workspace in namespace " + w.cluster.Namespace, Hint: "mops workspace up makes it"}
	}
	document := struct {
		Environment string `json:"environment"`
		Context     string `json:"context,omitempty"`
		Cluster     string `json:"cluster"`
		*workspace.State
	}{w.spec.Environment.Environment, w.cluster.Context, w.cluster.Host(), state}
	return command.Print(c, document, func(out io.Writer) {
		rows := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, component := range state.Components {
			fmt.Fprintf(rows, "%s\t%d of %d\t%s\n", component.Name, component.Running, component.Wanted, component.Image)
			for _, pod := range component.Pods {
				fmt.Fprintf(rows, "  %s\t%s\t%s\t%s\n", pod.Name, pod.Phase, pod.Version, contracts.Lines(pod.Why))
			}
		}
		if !held.Until.IsZero() {
			fmt.Fprintf(rows, "certificate\tuntil %s\n", held.Until.Format(time.DateOnly))
		}
		_ = rows.Flush() // into memory
		for _, line := range state.Stale {
			fmt.Fprintf(out, "stale: %s\n", line)
		}
	})
}

func (w *workspaceTarget) down(c *cli.Context) error {
	if !c.Bool("dry-run") {
		if err := w.confirm(c); err != nil {
			return err
		}
	}
	changes, err := workspace.Down(c.Context, w.cluster, w.options(c))
	if err != nil {
		return err
	}
	file, err := w.forget(c)
	if err != nil {
		return err
	}
	if c.Bool("wait") && !c.Bool("dry-run") {
		if err := workspace.Gone(c.Context, w.cluster, changes); err != nil {
			return err
		}
	}
	return w.answer(c, changes, file)
}

// forget takes the workspace out of the environment file, if it is there.
func (w *workspaceTarget) forget(c *cli.Context) (infra.FileState, error) {
	env, files := *w.spec.Environment, w.files
	if w.spec.Made(env.Compute) {
		env.Compute, files.WithoutCompute = nil, true
	}
	if c.Bool("dry-run") {
		return files.State(env.Environment, &env)
	}
	state, err := files.Publish(&env, c.Bool("force"))
	if e := contracts.AsError(err); e != nil && e.Code == contracts.CodeConflict {
		command.Warn(c, "%s; it still names the workspace", e.Message)
		return infra.Foreign, nil
	}
	return state, err
}

// confirm makes sure that whoever ends what runs knows where.
func (w *workspaceTarget) confirm(c *cli.Context) error {
	name, typed := w.spec.Environment.Environment, c.String("confirm")
	if typed == "" && command.Interactive(c) {
		var err error
		question := fmt.Sprintf("This ends every task and every driver in namespace %s of %s. Type the environment's name (%s) to go on: ", w.cluster.Namespace, w.where(), name)
		if typed, err = command.Ask(c, question); err != nil {
			return err
		}
	}
	switch typed {
	case name:
		return nil
	case "":
		return command.Usage("mops workspace down --confirm "+name, "taking a workspace away needs the environment's name")
	}
	return command.Usage("--confirm "+name, "nothing was removed: the environment is %s, not %s", name, contracts.Quote(typed))
}

func (w *workspaceTarget) dashboard(c *cli.Context) error {
	var pods corev1.PodList
	if err := w.cluster.List(c.Context, &pods, kube.Selection{Labels: "app.kubernetes.io/name=" + workspace.Scheduler, Fields: "status.phase=Running"}); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
			Message: "no scheduler runs in namespace " + w.cluster.Namespace, Hint: "mops workspace status says why"}
	}
	var printed error
	err := w.cluster.Forward(c.Context, pods.Items[0].Name, c.Int("port"), workspace.DashboardPort, func(port int) {
		url := fmt.Sprintf("http://127.0.0.1:%d/status", port)
		printed = command.Print(c, map[string]string{"dashboard": url}, func(out io.Writer) { fmt.Fprintln(out, url) })
		command.Note(c, "until it is interrupted")
	})
	if c.Context.Err() != nil && context.Cause(c.Context) != nil { // that is its end
		return printed
	}
	return err
}
