//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// command is one command of the program.
type command struct {
	name    string // one word or two
	usage   string
	args    []string // the names of its arguments; the last may be "COMMAND..." after "--"
	example string
	flags   func(*flag.FlagSet, *flags)
	run     func(ctx context.Context, p *program, args []string) error
}

// flags are the values of all flags. Those above the line belong to every command.
type flags struct {
	json, quiet, help, version bool
	envFile                    string

	outputs, inputs string
	report, task    string
	resources       string
	stream, dryRun  bool
	delete          bool
	repeat          int
	maxBytes        int64
	olderThan       string

	socket               string // of serve, with those below
	slots, queue, parent int
	drain                time.Duration
	untilEOF             bool
}

// parse finds the command and reads the flags, which may stand anywhere before "--".
func (f *flags) parse(all []command, args []string) (*command, []string, error) {
	words, rest := args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		words, rest = args[:i], args[i+1:]
	}
	set := flag.NewFlagSet("bundle-worker", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.BoolVar(&f.json, "json", false, "print one JSON document on stdout, errors included")
	set.BoolVar(&f.quiet, "quiet", false, "say nothing but warnings and errors")
	set.BoolVar(&f.help, "help", false, "show this help")
	set.BoolVar(&f.help, "h", false, "show this help")
	set.BoolVar(&f.version, "version", false, "say which build this is")
	set.StringVar(&f.envFile, "env-file", "", "read the environment from `FILE`")
	for _, c := range all {
		if c.flags != nil {
			c.flags(set, f)
		}
	}
	f.json = slices.Contains(words, "--json") // for the errors of the line itself
	given := map[string]bool{}
	var positional []string
	for len(words) > 0 {
		if err := set.Parse(words); err != nil {
			return nil, nil, wrongUsage(err.Error(), "bundle-worker --help")
		}
		if words = set.Args(); len(words) > 0 {
			positional, words = append(positional, words[0]), words[1:]
		}
	}
	set.Visit(func(g *flag.Flag) { given[g.Name] = true })
	if len(positional) == 0 {
		return nil, nil, nil
	}
	c, positional := find(all, positional)
	if c == nil {
		return nil, nil, wrongUsage("there is no command "+contracts.Quote(strings.Join(positional, " ")), "bundle-worker --help")
	}
	if f.help {
		return c, nil, nil
	}
	return c, append(positional, rest...), c.check(positional, rest, given)
}

// find is the command that the words begin with, and the rest of them.
func find(all []command, words []string) (*command, []string) {
	for i := range all {
		name := strings.Fields(all[i].name)
		if len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			return &all[i], words[len(name):]
		}
	}
	return nil, words
}

// check holds arguments and flags against what the command takes.
func (c *command) check(positional, rest []string, given map[string]bool) error {
	own := flag.NewFlagSet(c.name, flag.ContinueOnError)
	if c.flags != nil {
		c.flags(own, &flags{})
	}
	for name := range given {
		common := slices.Contains([]string{"json", "quiet", "env-file", "version"}, name)
		if !common && own.Lookup(name) == nil {
			return wrongUsage("--"+name+" is not a flag of "+c.name, "bundle-worker "+c.name+" --help")
		}
	}
	fixed, many := c.args, false
	if n := len(fixed); n > 0 && strings.HasSuffix(fixed[n-1], "...") {
		fixed, many = fixed[:n-1], true
	}
	required := slices.DeleteFunc(slices.Clone(fixed), func(name string) bool { return strings.HasPrefix(name, "[") })
	switch {
	case len(positional) < len(required):
		return wrongUsage(c.name+" needs "+required[len(positional)], c.example)
	case many && len(rest) == 0:
		return wrongUsage(c.name+" needs a command after --", c.example)
	case len(positional) > len(fixed):
		return wrongUsage(c.name+" takes no argument "+contracts.Quote(positional[len(fixed)]), c.example)
	case !many && len(rest) > 0:
		return wrongUsage(c.name+" takes nothing after --", c.example)
	}
	return nil
}

func wrongUsage(message, hint string) error {
	return &contracts.Error{Code: contracts.CodeUsage, Stage: contracts.StageCommand, Message: message, Hint: hint}
}

func usage(all []command) string {
	var b strings.Builder
	b.WriteString("bundle-worker: run simulations of exactly the bytes that were pushed\n\nUsage:\n  bundle-worker COMMAND [flags]\n\nCommands:\n")
	for _, c := range all {
		fmt.Fprintf(&b, "  %-14s %s\n", c.name, c.usage)
	}
	b.WriteString("\nFlags of every command:\n  --env-file FILE  read the environment from FILE\n  --json           print one JSON document on stdout, errors included\n  --quiet          say nothing but warnings and errors\n  --help, -h       show help\n  --version        say which build this is\n")
	return b.String()
}

func (c *command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bundle-worker %s: %s\n\nUsage:\n  bundle-worker %s", c.name, c.usage, c.name)
	for _, arg := range c.args {
		if strings.HasSuffix(arg, "...") {
			b.WriteString(" --")
		}
		b.WriteString(" " + arg)
	}
	fmt.Fprintf(&b, " [flags]\n\nExample:\n  %s\n", c.example)
	if c.flags != nil {
		b.WriteString("\nFlags:\n")
		set := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.flags(set, &flags{})
		set.VisitAll(func(f *flag.Flag) {
			value, text := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, "  --%s\t%s\n", strings.TrimSpace(f.Name+" "+value), text)
		})
	}
	return b.String()
}

// print writes the command's answer: doc as one line of JSON with --json, else the text.
func (p *program) print(doc any, text string) error {
	data := []byte(text)
	if p.flags.json {
		var err error
		if data, err = json.Marshal(doc); err != nil {
			return err
		}
		data = append(data, '\n')
	}
	_, err := p.env.Stdout.Write(data)
	return err
}
