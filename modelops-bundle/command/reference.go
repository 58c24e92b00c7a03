package command

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// Reference is the help of every command of the app, as a page of Markdown: docs/cli has
// it, and a test in each program holds the page against it.
func Reference(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nWritten from the program by `make docs`.\n", app.Name)
	reference(&b, []*cli.Command{root(app)})
	return b.String()
}

func reference(b *strings.Builder, path []*cli.Command) {
	command := path[len(path)-1]
	fmt.Fprintf(b, "\n## %s\n\n```text\n%s```\n", line(path), Help(path))
	for _, sub := range command.Subcommands {
		if !sub.Hidden {
			reference(b, append(path[:len(path):len(path)], sub))
		}
	}
}
