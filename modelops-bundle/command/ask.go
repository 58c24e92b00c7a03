package command

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// Interactive says whether somebody can be asked: stdin and stderr are terminals, and
// the output is for people.
func Interactive(c *cli.Context) bool {
	env := EnvOf(c)
	stdin, ok := env.Stdin.(*os.File)
	return ok && env.Terminal && !JSON(c) && term.IsTerminal(int(stdin.Fd()))
}

// Ask writes a question to stderr and returns the line that is typed, without blanks
// around it.
func Ask(c *cli.Context, question string) (string, error) {
	env := EnvOf(c)
	if _, err := io.WriteString(env.Stderr, question); err != nil {
		return "", err
	}
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // a read of a terminal cannot be interrupted; the process ends soon after
		line, err := bufio.NewReader(env.Stdin).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		answers <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-c.Context.Done():
		return "", c.Context.Err()
	}
}

// AskSecret writes a question to stderr and returns the line that is typed, which is not
// shown. Stdin must be a terminal, as [Interactive] says.
func AskSecret(c *cli.Context, question string) (string, error) {
	env := EnvOf(c)
	stdin, ok := env.Stdin.(*os.File)
	if !ok {
		return "", errors.New("stdin is no terminal")
	}
	before, err := term.GetState(int(stdin.Fd()))
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(env.Stderr, question); err != nil {
		return "", err
	}
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // as in Ask
		line, err := term.ReadPassword(int(stdin.Fd()))
		answers <- answer{line, err}
	}()
	defer func() { _, _ = io.WriteString(env.Stderr, "\n") }()
	select {
	case a := <-answers:
		return string(a.line), a.err
	case <-c.Context.Done():
		_ = term.Restore(int(stdin.Fd()), before) // or the shell would be left without echo
		return "", c.Context.Err()
	}
}
