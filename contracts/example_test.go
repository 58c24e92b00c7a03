package contracts_test

import (
	"errors"
	"fmt"

	"github.com/modelops-suite/modelops-go/contracts"
)

func ExampleParseBundleRef() {
	ref, err := contracts.ParseBundleRef("my-model@sha256:a7671b1348180e0f4d25d4c1f1e26d2b0ffcb2c4b7f9f2c4f6a0f8e1c2d3b4a5")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ref.Repository, ref.Digest.Short())

	_, err = contracts.ParseBundleRef("my-model:latest")
	if e, ok := errors.AsType[*contracts.Error](err); ok {
		fmt.Println(e.Code)
		fmt.Println(e.Message)
		fmt.Println(e.Hint)
	}
	// Output:
	// my-model a7671b134818
	// invalid_reference
	// reference "my-model:latest" names no digest
	// write repository@sha256:…; a tag can move, a digest cannot
}

func ExampleJoin() {
	location, err := contracts.Join("ghcr.io/org", "my-model")
	fmt.Println(location, err)
	fmt.Println(location.Host, location.Path)
	// Output:
	// ghcr.io/org/my-model <nil>
	// ghcr.io org/my-model
}

func ExampleParseEnvironment() {
	env, warnings, err := contracts.ParseEnvironment("local.yaml", []byte(`
environment: local
registry:
  provider: docker
  login_server: localhost:5555
  colour: blue
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(env.Environment, env.Registry.LoginServer, env.Registry.PlainHTTP())
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}

	_, _, err = contracts.ParseEnvironment("dev.yaml", []byte(`
environment: off
registry:
  provider: acr
  login_server: https://modelopsdevacr.azurecr.io
`))
	if e, ok := errors.AsType[*contracts.Error](err); ok {
		for _, p := range e.Problems {
			fmt.Printf("%s: %s\n", p, p.Hint)
		}
	}
	// Output:
	// local localhost:5555 true
	// warning: registry.colour is not a key of the contract; it has no effect
	// environment is a boolean, not a string: put it in quotes
	// registry.login_server is "https://modelopsdevacr.azurecr.io" and has a scheme: leave out everything up to ://
}

func ExampleParseStudy() {
	study, err := contracts.ParseStudy("study.json", []byte(`{
  "model": "models.sir", "scenario": "baseline", "n_replicates": 2,
  "parameter_sets": [
    {"params": {"beta": 0.08}},
    {"params": {"beta": 0.10}, "seed": 52}
  ]
}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle := contracts.BundleRef{Repository: "my-model", Digest: contracts.DigestOf(nil)}
	fmt.Println(study.TaskCount(), "tasks of", study.Entrypoint())
	for task := range study.Tasks(bundle) {
		fmt.Println(task.Params.ID[:8], task.Params.Values["beta"].Text(), task.Seed)
	}
	// Output:
	// 3 tasks of models.sir/baseline
	// a9af7f35 0.08 1047657939
	// a9af7f35 0.08 1741120361
	// 52d399f6 0.1 52
}
