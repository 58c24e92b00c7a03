package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/azuretoken"
)

// clustered is a provider whose environment can have a cluster.
type clustered interface {
	// Kubeconfig is how programs reach the cluster.
	Kubeconfig(ctx context.Context) (contracts.Secret, error)
}

func kubeconfigCommand(provider cli.Flag) *cli.Command {
	return &cli.Command{
		Name: "kubeconfig", Usage: "write the file by which programs reach the cluster", UsageText: "mops infra kubeconfig --output dev.kubeconfig\nKUBECONFIG=dev.kubeconfig kubectl get nodes",
		Description: "Whoever can read it can do everything in a cluster whose cluster.auth is certificate; it\n" +
			"is written for its owner only. No other file is touched, ~/.kube/config neither.",
		Flags: []cli.Flag{
			provider,
			&cli.StringFlag{Name: "output", Usage: "the `FILE` to write; - is standard output"},
			&cli.BoolFlag{Name: "force", Usage: "replace a file that says something else"},
		},
		Action: infraKubeconfig,
	}
}

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name: "token", Usage: "print a token for a cluster, as Kubernetes' clients ask for it", UsageText: "mops infra token",
		Description: "The kubeconfig of a cluster whose cluster.auth is identity runs it. The identity is that\n" +
			"of the surroundings: az login, or the usual variables. The token ends within the hour.",
		Action: infraToken,
	}
}

func infraKubeconfig(c *cli.Context) error {
	output := c.String("output")
	if output == "" {
		return command.Usage("mops infra kubeconfig --output dev.kubeconfig", "which file is to be written is not said")
	}
	t, err := chooseProvider(c)
	if err != nil {
		return err
	}
	k, ok := t.Provider.(clustered)
	if !ok {
		return &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision, Message: "the " + t.Name() + " environment has no cluster"}
	}
	text, err := k.Kubeconfig(c.Context)
	if err != nil {
		return err
	}
	if output == "-" {
		_, err := io.WriteString(command.EnvOf(c).Stdout, string(text))
		return err
	}
	path := command.EnvOf(c).Path(output)
	if err := writeKubeconfig(path, []byte(text), c.Bool("force")); err != nil {
		return err
	}
	document := struct {
		Environment string `json:"environment"`
		Path        string `json:"path"`
	}{t.Environment(), path}
	return command.Print(c, document, func(w io.Writer) { fmt.Fprintf(w, "%s: the cluster of environment %s\n", path, t.Environment()) })
}

// writeKubeconfig writes a file that only its owner can read. One that says something else
// may be the only way to another cluster.
func writeKubeconfig(path string, text []byte, force bool) error {
	old, err := os.ReadFile(path)
	switch {
	case err == nil && !bytes.Equal(old, text) && !force:
		return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
			Message: contracts.Quote(path) + " is there, and says something else", Hint: "another --output, or --force to replace it"}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return infra.Cannot("read", path, err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		return infra.Cannot("write", path, err)
	}
	return nil
}

func infraToken(c *cli.Context) error {
	credential, err := azuretoken.Get(c.Context)
	if err != nil {
		return err
	}
	return command.Print(c, credential, func(w io.Writer) { _ = json.NewEncoder(w).Encode(credential) }) // into memory
}

// doomed is what a removal takes of the cluster, in words; "" when there is none.
func (t *target) doomed(changes []infra.Change) string {
	removed := false
	for _, c := range changes {
		if c.Component != infra.Cluster {
			continue
		}
		name := c.Place[strings.LastIndex(c.Place, "/")+1:]
		switch {
		case strings.TrimPrefix(c.Resource, "adopted-") != infra.Cluster:
			removed = true
		case c.Action == infra.Delete:
			return "the cluster " + name + " and what runs on it"
		default:
			return "the access of environment " + t.Environment() + " to the cluster " + name + ", which stays"
		}
	}
	if removed {
		return "what there is of a cluster"
	}
	return ""
}

// remember records the cluster for the programs that ask no cloud.
func (t *target) remember(state *infra.State) error {
	if t.names == nil {
		return nil
	}
	return infra.Clusters{Home: t.files.Home}.Save(t.Environment(), state.Cluster)
}

// withoutWorkspace takes compute out of the environment file when it is in the cluster that
// goes: the file goes first, so that it never names a cluster that is no more. One that is
// elsewhere stays, and so does the file of somebody else.
func (t *target) withoutWorkspace(c *cli.Context, before *infra.State) error {
	if before.Cluster == nil || before.Outputs == nil {
		return nil
	}
	loaded, err := t.store.Load(t.Environment())
	if err != nil || !inCluster(loaded, before.Cluster) {
		return nil // what is wrong with it, State says
	}
	files := t.files
	files.WithoutCompute = true
	_, err = files.Publish(before.Outputs, c.Bool("force"))
	if e := contracts.AsError(err); e != nil && e.Code == contracts.CodeConflict {
		command.Warn(c, "%s; it still names the cluster", e.Message)
		return nil
	}
	return err
}

// inCluster says whether an environment's compute is in a cluster: by the context that it
// names, or, when it names none, by the namespace that is its own.
func inCluster(loaded *environment.Loaded, cluster *infra.KubernetesCluster) bool {
	compute := loaded.Env.Compute
	if compute == nil || compute.Kubernetes == nil {
		return false
	}
	if context := compute.Kubernetes.Context; context != "" {
		return context == cluster.Context
	}
	return compute.Kubernetes.Namespace == infra.Namespace(loaded.Env.Environment, "")
}
