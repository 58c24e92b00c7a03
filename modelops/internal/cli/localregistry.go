package cli

import (
	"hash/fnv"
	"log/slog"
	"os"
	"os/exec"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/daemon"
	"github.com/modelops-suite/modelops-go/modelops/internal/infra/local"
	"github.com/modelops-suite/modelops-go/modelops/internal/localregistry"
)

const localRegistryName = "local-registry"

// localRegistryCommand is the process of the local registry, which "mops infra up" starts.
func localRegistryCommand() *cli.Command {
	return &cli.Command{
		Name:   localRegistryName,
		Usage:  "serve the local registry until it is stopped",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the registry", Required: true},
			&cli.IntFlag{Name: "port", Usage: "`PORT` to listen on when none is recorded"},
			&cli.StringFlag{Name: "instance", Usage: "`ID` that it answers", Required: true},
		},
		Action: func(c *cli.Context) error {
			log := slog.New(slog.NewTextHandler(command.EnvOf(c).Stderr, nil))
			options := localregistry.Options{Dir: c.String("dir"), Options: daemon.Options{ID: c.String("instance"), Port: c.Int("port")}}
			return localregistry.Serve(c.Context, options, log)
		},
	}
}

// localLaunch makes the commands of the local environment's processes: this program again.
func localLaunch(c *cli.Context) (local.Launch, error) {
	self, err := os.Executable()
	if err != nil {
		return local.Launch{}, &contracts.Error{Code: contracts.CodeFailed, Message: "find this program's own file: " + err.Error()}
	}
	env := command.EnvOf(c)
	home, err := homeOf(c)
	if err != nil {
		return local.Launch{}, err
	}
	port, err := firstPort(env)
	if err != nil {
		return local.Launch{}, err
	}
	var environ []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE", "SYSTEMROOT", "GOCOVERDIR"} {
		if value := env.Getenv(key); value != "" {
			environ = append(environ, key+"="+value)
		}
	}
	launch := func(name string, environ []string, more ...string) daemon.Launch {
		return func(dir, id string) *exec.Cmd {
			cmd := exec.Command(self, append([]string{name, "--dir", dir, "--instance", id}, more...)...)
			cmd.Dir, cmd.Env = dir, environ
			return cmd
		}
	}
	return local.Launch{
		Registry: launch(localRegistryName, environ, "--port", strconv.Itoa(port)),
		Dask:     launch(localDaskName, daskEnviron(env, home)),
	}, nil
}

// firstPort is the port that a home's registry begins with: 5555 for the user's own
// home. Another home begins elsewhere, each with its own: while one of them is stopped,
// none of the others may come to listen where its environment file says.
func firstPort(env command.Env) (int, error) {
	const usual, first, count = 5555, 20000, 10000 // below the ports that systems give out
	home, err := environment.Home(env.Getenv)
	if err != nil {
		return 0, err
	}
	own, err := environment.Home(func(key string) string {
		if key == "MODELOPS_HOME" {
			return ""
		}
		return env.Getenv(key)
	})
	if err == nil && home == own {
		return usual, nil
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(home)) // it never fails
	return first + int(hash.Sum32()%count), nil
}
