package azure

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/engine"
)

// clusterStatus adds to the state what is recorded of the cluster.
func (p *Provider) clusterStatus(ctx context.Context, state *infra.State) error {
	found, err := p.statusOf(ctx, p.cluster(), state)
	if err != nil {
		return err
	}
	id, there := placeOf(found, infra.Cluster)
	if p.settings.Cluster == nil && !there {
		return nil
	}
	c := infra.Component{Name: infra.Cluster, Phase: infra.Absent, Place: p.settings.clusterID()}
	if there {
		c.Phase, c.Place = infra.Ready, id
	}
	state.Components = append(state.Components, c)
	if !there {
		return nil
	}
	outputs, err := p.engine.Outputs(ctx, p.cluster())
	if err != nil {
		return p.explain(err)
	}
	var unread error
	if state.Cluster, unread = clusterOf(id, outputs); unread != nil {
		state.Notes = append(state.Notes, "the cluster is there, and not all that it needs: "+contracts.AsError(unread).Message)
	}
	return nil
}

// clusterOf is what the outputs of the cluster's stack say, once they are believed.
func clusterOf(id string, outputs map[string]engine.Output) (*infra.KubernetesCluster, error) {
	r := reader{outputs: outputs}
	_, name := split(id)
	const guid = `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`
	k := &infra.KubernetesCluster{
		Name: name, Issuer: r.text(outIssuer, `^https://\S+$`),
		WorkerClientID: r.text(outClientID, guid), WorkerTenantID: r.text(outTenantID, guid),
	}
	if r.err != nil {
		return nil, r.err
	}
	text, _ := outputs[outKubeconfig].Value.(string)
	var err error
	k.Context, err = currentContext(text)
	return k, err
}

// currentContext is the context that a kubeconfig is for.
func currentContext(kubeconfig string) (string, error) {
	var document struct {
		Current string `json:"current-context"`
	}
	if err := yaml.Unmarshal([]byte(kubeconfig), &document); err != nil || document.Current == "" || strings.HasPrefix(document.Current, "-") {
		return "", unbelieved("the output " + outKubeconfig + " is not a kubeconfig") // its text is a secret
	}
	return document.Current, nil
}

// Kubeconfig is how programs reach the cluster: a file of Kubernetes' clients.
func (p *Provider) Kubeconfig(ctx context.Context) (contracts.Secret, error) {
	outputs, err := p.engine.Outputs(ctx, p.cluster())
	if err != nil {
		return "", p.explain(err)
	}
	text, _ := outputs[outKubeconfig].Value.(string)
	if text == "" {
		return "", &contracts.Error{Code: contracts.CodeNotFound, Stage: contracts.StageProvision,
			Message: fmt.Sprintf("environment %s has no cluster", p.settings.Environment), Hint: "the section cluster in modelops.yaml asks for one; mops infra up makes it"}
	}
	if _, err := currentContext(text); err != nil {
		return "", err
	}
	return signIn(text)
}

// signIn is a kubeconfig whose users sign in with this suite, where Azure's wants another
// program that would have to be there. One with a certificate stays as it is.
func signIn(kubeconfig string) (contracts.Secret, error) {
	var document map[string]any
	if err := yaml.Unmarshal([]byte(kubeconfig), &document); err != nil {
		return "", unbelieved("the output " + outKubeconfig + " is not a kubeconfig")
	}
	changed := false
	users, _ := document["users"].([]any)
	for _, u := range users {
		named, _ := u.(map[string]any)
		user, _ := named["user"].(map[string]any)
		if user["exec"] == nil {
			continue
		}
		changed = true
		user["exec"] = map[string]any{
			"apiVersion": "client.authentication.k8s.io/v1", "command": "mops", "args": []string{"infra", "token"},
			"interactiveMode": "Never", "provideClusterInfo": false, "installHint": "mops has to be on PATH",
		}
	}
	if !changed {
		return contracts.Secret(kubeconfig), nil
	}
	text, err := yaml.Marshal(document)
	return contracts.Secret(text), err
}

// born says whether a resource came into being with the cluster, so that finding it there
// is no surprise.
func (p *Provider) born(name string) bool {
	return p.settings.Cluster != nil && p.settings.Cluster.Adopt == "" && name == poolPrefix+p.settings.birthPool().Name
}
