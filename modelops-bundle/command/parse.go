package command

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/urfave/cli/v2"
)

// given is one flag on the command line.
type given struct {
	token string // as it was typed, for messages: "--env"
	name  string
	arg   string // what urfave/cli gets: "--env=dev"
}

// parsed is a command line that was understood.
type parsed struct {
	path  []*cli.Command // from the root to the command
	flags []given
	args  []string
	help  bool
	rest  []string // after a command that takes its line as it is
}

// parser reads a command line from left to right.
type parser struct {
	parsed
	todo    []string
	literal bool // "--" was seen
}

// parse reads the command line, without the program's name. On an error the result
// holds what was understood until then.
func parse(app *cli.App, args []string) (*parsed, error) {
	p := &parser{todo: args}
	p.path = []*cli.Command{root(app)}
	for len(p.todo) > 0 {
		if p.current().SkipFlagParsing {
			p.rest, p.todo = p.todo, nil
			break
		}
		token := p.todo[0]
		p.todo = p.todo[1:]
		var err error
		switch {
		case p.literal || !looksLikeFlag(token):
			err = p.positional(token)
		case token == "--":
			p.literal = true
		case strings.HasPrefix(token, "--"):
			name, value, hasValue := strings.Cut(token[2:], "=")
			err = p.flag("--"+name, name, value, hasValue)
		default:
			err = p.short(token)
		}
		if err != nil {
			return &p.parsed, err
		}
	}
	if p.help {
		return &p.parsed, nil
	}
	return &p.parsed, p.check()
}

func (p *parser) current() *cli.Command { return p.path[len(p.path)-1] }

// looksLikeFlag is false for "-", which is stdin, and for negative numbers.
func looksLikeFlag(token string) bool {
	if len(token) < 2 || token[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(token, 64)
	return err != nil
}

func (p *parser) positional(token string) error {
	subcommands := p.current().Subcommands
	if len(subcommands) == 0 {
		p.args = append(p.args, token)
		return nil
	}
	for _, command := range subcommands {
		if command.HasName(token) {
			p.path = append(p.path, command)
			return nil
		}
	}
	if token == "help" {
		p.help = true
		return nil
	}
	u := &usage{message: line(p.path) + " has no command " + contracts.Quote(token)}
	if near := nearest(token, commandNames(subcommands)); near != "" {
		u.hint = line(p.path) + " " + near
	}
	return u
}

// short reads -q, -qv, -o FILE and -o=FILE.
func (p *parser) short(token string) error {
	letters, value, hasValue := strings.Cut(token[1:], "=")
	if len(letters) > 1 && p.lookup(letters) != nil {
		return &usage{message: p.has(token), hint: "-" + token}
	}
	for i, letter := range letters {
		name := string(letter)
		last := i == len(letters)-1
		if f := p.lookup(name); !last && f != nil && takesValue(f) {
			return &usage{message: "-" + name + " takes a value and cannot stand inside " + contracts.Quote(token)}
		}
		if err := p.flag("-"+name, name, value, last && hasValue); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) flag(token, name, value string, hasValue bool) error {
	f := p.lookup(name)
	if f == nil {
		u := &usage{message: p.has(token)}
		if near := nearest(name, p.flagNames()); near != "" {
			u.hint = "did you mean " + dashed(near) + "?"
		}
		return u
	}
	name = f.Names()[0]
	if name == flagHelp {
		p.help = true
		return nil
	}
	if takesValue(f) && !hasValue {
		if len(p.todo) == 0 || looksLikeFlag(p.todo[0]) {
			return &usage{message: token + " needs a value"}
		}
		value, p.todo = p.todo[0], p.todo[1:]
	}
	arg := "--" + name
	if takesValue(f) && value == "" {
		return &usage{message: "the value of " + token + " is empty"}
	}
	if takesValue(f) || hasValue {
		arg += "=" + value
	}
	p.flags = append(p.flags, given{token: token, name: name, arg: arg})
	return nil
}

// has is "mops infra up has no flag --x".
func (p *parser) has(token string) string {
	return line(p.path) + " has no flag " + contracts.Lines(token)
}

// lookup finds a flag of the commands so far, or of those that may still come: the
// flag may stand before the command's name.
func (p *parser) lookup(name string) cli.Flag {
	for _, command := range slices.Backward(p.path) {
		if f := flagOf(command, name); f != nil {
			return f
		}
	}
	return descendantFlag(p.current(), name)
}

func flagOf(command *cli.Command, name string) cli.Flag {
	for _, f := range command.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func descendantFlag(command *cli.Command, name string) cli.Flag {
	for _, sub := range command.Subcommands {
		if f := flagOf(sub, name); f != nil {
			return f
		}
		if f := descendantFlag(sub, name); f != nil {
			return f
		}
	}
	return nil
}

func (p *parser) flagNames() []string {
	var names []string
	for _, command := range p.path {
		for _, f := range visibleFlags(command) {
			names = append(names, f.Names()[0])
		}
	}
	return names
}

func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, command := range commands {
		if !command.Hidden {
			names = append(names, command.Name)
		}
	}
	return names
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// check compares the whole line with what the command declares.
func (p *parser) check() error {
	command := p.current()
	for _, g := range p.flags {
		if p.level(g) < 0 {
			u := &usage{message: p.has(g.token)}
			if near := nearest(g.name, p.flagNames()); near != "" {
				u.hint = "did you mean " + dashed(near) + "?"
			}
			return u
		}
	}
	if command.SkipFlagParsing {
		return nil
	}
	if len(command.Subcommands) > 0 {
		if len(p.path) == 1 && p.isGiven(flagVersion) {
			return nil
		}
		return &usage{message: line(p.path) + " needs a command: " + strings.Join(commandNames(command.Subcommands), ", ")}
	}
	if err := p.checkArgs(); err != nil {
		return err
	}
	for _, f := range command.Flags {
		required, ok := f.(cli.RequiredFlag)
		if ok && required.IsRequired() && !p.isGiven(f.Names()[0]) {
			return &usage{message: line(p.path) + " needs " + dashed(f.Names()[0])}
		}
	}
	return nil
}

func (p *parser) checkArgs() error {
	takes := parseArity(p.current().ArgsUsage)
	switch n := len(p.args); {
	case n < takes.min:
		return &usage{message: line(p.path) + " needs " + takes.names[n]}
	case n > takes.max && takes.max == 0:
		return &usage{message: line(p.path) + " takes no argument, and got " + contracts.Quote(p.args[0])}
	case n > takes.max:
		return &usage{message: line(p.path) + " got one argument too many: " + contracts.Quote(p.args[takes.max])}
	}
	for _, arg := range p.args {
		if arg == "" {
			return &usage{message: "an argument of " + line(p.path) + " is empty"}
		}
	}
	return nil
}

func (p *parsed) isGiven(name string) bool {
	return slices.ContainsFunc(p.flags, func(g given) bool { return g.name == name })
}

// level is the deepest command of the path that declares the flag, or -1.
func (p *parsed) level(g given) int {
	for i, command := range slices.Backward(p.path) {
		if flagOf(command, g.name) != nil || command.SkipFlagParsing {
			return i
		}
	}
	return -1
}

// argv is the line as urfave/cli reads it: each level's flags directly behind its
// name, and the arguments behind "--".
func (p *parsed) argv() []string {
	var argv []string
	for i, command := range p.path {
		argv = append(argv, command.Name)
		for _, g := range p.flags {
			if p.level(g) == i {
				argv = append(argv, g.arg)
			}
		}
	}
	switch last := p.path[len(p.path)-1]; {
	case last.SkipFlagParsing:
		return append(argv, p.rest...)
	case len(last.Subcommands) > 0:
		return argv
	}
	return append(append(argv, "--"), p.args...)
}
