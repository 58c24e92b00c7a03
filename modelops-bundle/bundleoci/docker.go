package bundleoci

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	dockerconfig "oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/modelops-suite/modelops-go/contracts"
)

const (
	helperTimeout = time.Minute // it may ask for a passphrase
	maxDocker     = 4 << 20     // bytes of a configuration
	maxHelper     = 64 << 10    // bytes of a helper's answer
)

// helperName is what a credential helper may be called, after docker-credential-.
var helperName = regexp.MustCompile(`^[a-z0-9-]+$`)

// dockerCredential is what the Docker configuration, or the helper that it names, has for
// the host, and which of the two. It is empty when they have nothing.
func dockerCredential(ctx context.Context, host string) (auth.Credential, string, error) {
	store, err := dockerconfig.NewStoreFromDocker(dockerconfig.StoreOptions{})
	if err != nil {
		return auth.EmptyCredential, "", badDocker("cannot be read")
	}
	path := store.ConfigPath()
	address := dockerconfig.ServerAddressFromHostname(host)
	helper, err := helperFor(path, address)
	if err != nil {
		return auth.EmptyCredential, "", err
	}
	if helper != "" {
		credential, err := askHelper(ctx, helper, address)
		return credential, "credential helper docker-credential-" + helper, err
	}
	credential, err := store.Get(ctx, address)
	if err != nil { // its text may quote the secret
		return auth.EmptyCredential, "", badDocker("has an entry for " + host + " that is not user name and password")
	}
	if credential == auth.EmptyCredential {
		return credential, "", nil
	}
	return credential, "Docker configuration " + path, nil
}

// helperFor is the helper that the configuration names for an address, or "".
func helperFor(path, address string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", badDocker("cannot be read")
	}
	defer f.Close()
	var config struct {
		CredsStore  string            `json:"credsStore"`
		CredHelpers map[string]string `json:"credHelpers"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxDocker)).Decode(&config); err != nil && !errors.Is(err, io.EOF) {
		return "", badDocker("is not the JSON of one")
	}
	helper := config.CredHelpers[address]
	if helper == "" {
		helper = config.CredsStore
	}
	if helper != "" && !helperName.MatchString(helper) {
		return "", badDocker("names a credential helper that no program can be: " + contracts.Quote(helper))
	}
	return helper, nil
}

func badDocker(problem string) error {
	return &contracts.Error{
		Code: contracts.CodeUnauthenticated, Stage: contracts.StageResolve,
		Message: "the Docker configuration " + problem,
		Hint:    "correct config.json in ~/.docker, or in the directory that DOCKER_CONFIG names",
	}
}

// askHelper runs a credential helper from the PATH. What it writes may be secret, so errors
// say nothing of it.
func askHelper(parent context.Context, name, address string) (auth.Credential, error) {
	program := "docker-credential-" + name
	path, err := exec.LookPath(program) // an error, too, when it lies in the working directory
	if err != nil {
		return auth.EmptyCredential, badHelper(program, "is not on the PATH")
	}
	ctx, cancel := context.WithTimeout(parent, helperTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, path, "get")
	command.Stdin = strings.NewReader(address)
	command.WaitDelay = time.Second // for what it leaves behind
	out := &capped{full: cancel}
	command.Stdout = out
	err = command.Run()
	switch {
	case parent.Err() != nil:
		return auth.EmptyCredential, parent.Err()
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return auth.EmptyCredential, badHelper(program, "did not answer within a minute")
	case ctx.Err() != nil:
		return auth.EmptyCredential, badHelper(program, "writes without end")
	case err != nil && strings.HasPrefix(strings.TrimSpace(string(out.kept)), "credentials not found"):
		return auth.EmptyCredential, nil
	case err != nil:
		return auth.EmptyCredential, badHelper(program, "failed")
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out.kept, &answer) != nil || answer.Secret == "" {
		return auth.EmptyCredential, badHelper(program, "answered something that is no credential")
	}
	if answer.Username == "<token>" {
		return auth.Credential{RefreshToken: answer.Secret}, nil
	}
	return auth.Credential{Username: answer.Username, Password: answer.Secret}, nil
}

func badHelper(program, problem string) error {
	return &contracts.Error{
		Code: contracts.CodeUnauthenticated, Stage: contracts.StageResolve,
		Message: "credential helper " + program + " " + problem,
		Hint:    "try it: echo HOST | " + program + " get; or set registry.username and registry.password in the environment file",
	}
}

// capped is a buffer that stops a program which writes without end.
type capped struct {
	kept []byte
	full func()
}

// Write keeps at most maxHelper bytes.
func (c *capped) Write(p []byte) (int, error) {
	if len(c.kept)+len(p) > maxHelper {
		c.full()
		return 0, io.ErrShortBuffer
	}
	c.kept = append(c.kept, p...)
	return len(p), nil
}
