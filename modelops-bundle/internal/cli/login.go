package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundleoci"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

func loginCommand() *cli.Command {
	return &cli.Command{
		Name:      "login",
		Usage:     "store a user name and a password for a registry, as docker login does",
		ArgsUsage: "[REGISTRY]",
		Description: `REGISTRY is host[:port]; the environment's registry otherwise. The registry is asked first
whether it takes them. They are stored where Docker, oras and other clients look: with the
credential helper that ~/.docker/config.json names, else in that file.

The password is asked for, or read from stdin; it is never part of a command line.`,
		UsageText: `modelops-bundle login ghcr.io --username ada --password-stdin < token`,
		Flags: []cli.Flag{
			envFlag(),
			&cli.StringFlag{Name: "username", Aliases: []string{"u"}, Usage: "log in as `USER`"},
			&cli.BoolFlag{Name: "password-stdin", Usage: "read the password from stdin"},
		},
		Action: runLogin,
	}
}

func logoutCommand() *cli.Command {
	return &cli.Command{
		Name:        "logout",
		Usage:       "remove the user name and the password that are stored for a registry",
		ArgsUsage:   "[REGISTRY]",
		Description: `REGISTRY is host[:port]; the environment's registry otherwise.`,
		UsageText:   `modelops-bundle logout ghcr.io`,
		Flags:       []cli.Flag{envFlag()},
		Action:      runLogout,
	}
}

type loginAnswer struct {
	Registry string `json:"registry"`
	Username string `json:"username"`
	StoredIn string `json:"stored_in"`
	Checked  bool   `json:"checked"` // the registry asked for them, and took them
}

type logoutAnswer struct {
	Registry string `json:"registry"`
	Removed  bool   `json:"removed"` // there was something
}

func runLogin(c *cli.Context) error {
	registry, err := registryNamed(c)
	if err != nil {
		return err
	}
	if registry.Username != "" {
		command.Warn(c, "the environment file has a user name and a password for %s, and they come first", registry.LoginServer)
	}
	if registry.Username, registry.Password, err = askLogin(c, registry.LoginServer); err != nil {
		return err
	}
	stored, err := bundleoci.Login(c.Context, registry, bundleoci.Options{
		UserAgent: "modelops-bundle/" + command.BuildOf("modelops-bundle").Version,
	})
	if err != nil {
		return err
	}
	if !stored.Checked {
		command.Warn(c, "registry %s asks nobody who they are: user name and password were stored unchecked", stored.Host)
	}
	answer := loginAnswer{stored.Host, registry.Username, stored.Place, stored.Checked}
	return command.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s: logged in as %s; stored in %s\n", answer.Registry, contracts.Lines(answer.Username), answer.StoredIn)
	})
}

func runLogout(c *cli.Context) error {
	registry, err := registryNamed(c)
	if err != nil {
		return err
	}
	host, _, err := contracts.ParseLoginServer(registry.LoginServer)
	if err != nil {
		return err
	}
	stored, removed, err := bundleoci.Logout(c.Context, host)
	if err != nil {
		return err
	}
	return command.Print(c, logoutAnswer{host, removed}, func(w io.Writer) {
		if removed {
			fmt.Fprintf(w, "%s: removed from %s\n", host, stored.Place)
			return
		}
		fmt.Fprintf(w, "%s: nothing was stored\n", host)
	})
}

// registryNamed is the registry that the argument names: the environment's, when it is
// that one or when there is no argument.
func registryNamed(c *cli.Context) (contracts.Registry, error) {
	arg := c.Args().First()
	env, err := environmentHere(c, arg)
	if err != nil {
		return contracts.Registry{}, err
	}
	if arg == "" {
		return env.Registry, nil
	}
	host, _, err := contracts.ParseLoginServer(arg)
	if err != nil {
		return contracts.Registry{}, err
	}
	if env != nil {
		if own, _, err := contracts.ParseLoginServer(env.Registry.LoginServer); err == nil && own == host {
			return env.Registry, nil // with its authority, and whether it is encrypted
		}
	}
	return contracts.Registry{Provider: "docker", LoginServer: host}, nil
}

// environmentHere is the environment in force, inside a project or outside. Whoever names
// a registry needs none.
func environmentHere(c *cli.Context, registry string) (*contracts.BundleEnvironment, error) {
	pin := ""
	p, err := project.Open(command.EnvOf(c).Dir)
	if err := contracts.Except(err, contracts.CodeProjectNotFound); err != nil {
		return nil, err
	}
	if p != nil {
		pin = p.Pin
	}
	if registry == "" || c.IsSet("env") {
		return chooseEnvironment(c, pin, p != nil)
	}
	home, err := environment.Home(command.EnvOf(c).Getenv)
	if err != nil {
		return nil, err
	}
	chosen, err := environment.Open(home).Resolve(environment.Request{ProjectPin: pin, Getenv: command.EnvOf(c).Getenv, ForProject: p != nil})
	if err != nil {
		return nil, nil // it is not asked for
	}
	return chosen.Env, nil
}

// askLogin takes user name and password from the command line and stdin, or asks.
func askLogin(c *cli.Context, registry string) (string, contracts.Secret, error) {
	const maxSecret = 64 << 10
	username := c.String("username")
	fromStdin := c.Bool("password-stdin")
	if !fromStdin && !command.Interactive(c) || username == "" && fromStdin {
		return "", "", command.Usage("modelops-bundle login "+registry+" --username USER --password-stdin",
			"nobody can be asked here: --username and --password-stdin say who logs in")
	}
	if fromStdin {
		data, err := io.ReadAll(io.LimitReader(command.EnvOf(c).Stdin, maxSecret+1))
		if err != nil || len(data) > maxSecret {
			return "", "", command.Usage("", "stdin holds no password")
		}
		return username, contracts.Secret(strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")), nil
	}
	if username == "" {
		var err error
		if username, err = command.Ask(c, "User name for "+registry+": "); err != nil {
			return "", "", err
		}
	}
	password, err := command.AskSecret(c, "Password or token: ")
	return username, contracts.Secret(password), err
}
