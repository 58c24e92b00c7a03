package doctor

import "context"

// Engine is Pulumi's, as far as it can be looked at: nothing is installed or made.
type Engine interface {
	// Program is the program that would run and its version; both are empty when one
	// would first be installed, and unfit says why.
	Program(ctx context.Context) (path, version, unfit string, err error)
	// Place is where the state is kept.
	Place() string
	// Stacks counts what is in the state, with the program at cli where that is needed.
	Stacks(ctx context.Context, cli string) (int, error)
}

// Pulumi checks the program, and the state with the passphrase that belongs to it.
func Pulumi(ctx context.Context, e Engine) []Check {
	program, state := Check{Name: "pulumi", Looked: "PATH"}, Check{Name: "state", Looked: e.Place()}
	path, version, unfit, err := e.Program(ctx)
	switch {
	case err != nil:
		return []Check{program.FailedWith(err), state.Skipped("it needs pulumi")}
	case path == "":
		program = program.OK("mops infra up will install one (%s): about 100 MB from get.pulumi.com", unfit)
	default:
		program.Looked = path
		program = program.OK("version %s", version)
	}
	switch stacks, err := e.Stacks(ctx, path); {
	case err != nil:
		state = state.FailedWith(err)
	case stacks == 0:
		state = state.OK("there is nothing in it yet")
	default:
		state = state.OK("stacks in it: %d", stacks)
	}
	return []Check{program, state}
}
