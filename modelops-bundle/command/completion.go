package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeName is the hidden command that the shells' scripts call.
const completeName = "__complete"

func completionCommands(program string) []*cli.Command {
	return []*cli.Command{{
		Name:      "completion",
		Usage:     "print a script that teaches a shell this program's commands and flags",
		ArgsUsage: "SHELL",
		Action: func(c *cli.Context) error {
			script, ok := completionScript(c.Args().First(), c.App.Name)
			if !ok {
				return &usage{message: "completion is for bash, zsh and fish", hint: c.App.Name + " completion bash"}
			}
			return Print(c, map[string]string{"shell": c.Args().First(), "script": script}, func(w io.Writer) {
				_, _ = io.WriteString(w, script)
			})
		},
		Description: "SHELL is bash, zsh or fish. For bash, put the example into ~/.bashrc; zsh and fish likewise.",
		UsageText:   `eval "$(` + program + ` completion bash)"`,
	}, {
		Name:            completeName,
		Hidden:          true,
		SkipFlagParsing: true,
		Usage:           "list what may come next",
		Action: func(c *cli.Context) error {
			for _, candidate := range Complete(c.App, c.Args().Slice()) {
				fmt.Fprintln(EnvOf(c).Stdout, candidate)
			}
			return nil
		},
	}}
}

// Complete lists what may stand in place of the last of words, which are those after
// the program's name up to the cursor. Nothing means: a file.
func Complete(app *cli.App, words []string) []string {
	last := ""
	if len(words) > 0 {
		words, last = words[:len(words)-1], words[len(words)-1]
	}
	p, _ := parse(app, words) // an unfinished line is expected to be wrong
	current := p.path[len(p.path)-1]
	var candidates []string
	if strings.HasPrefix(last, "-") {
		for _, f := range visibleFlags(current) {
			candidates = append(candidates, dashed(f.Names()[0]))
		}
	} else {
		candidates = commandNames(current.Subcommands)
	}
	var matches []string
	for _, candidate := range candidates {
		if strings.HasPrefix(candidate, last) {
			matches = append(matches, candidate)
		}
	}
	return matches
}

func completionScript(shell, program string) (string, bool) {
	identifier := strings.ReplaceAll(program, "-", "_")
	switch shell {
	case "bash":
		return fmt.Sprintf(bashScript, identifier, program), true
	case "zsh":
		return fmt.Sprintf(zshScript, identifier, program), true
	case "fish":
		return fmt.Sprintf(fishScript, identifier, program), true
	}
	return "", false
}

const bashScript = `_%[1]s() {
  local IFS=$'\n'
  COMPREPLY=($(%[2]s ` + completeName + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _%[1]s %[2]s
`

const zshScript = `#compdef %[2]s
_%[1]s() {
  local -a candidates
  candidates=("${(@f)$(%[2]s ` + completeName + ` "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "${candidates[1]}" ]]; then compadd -a candidates; else _files; fi
}
compdef _%[1]s %[2]s
`

const fishScript = `function __%[1]s_complete
  set -l words (commandline -opc) (commandline -ct)
  %[2]s ` + completeName + ` $words[2..-1] 2>/dev/null
end
complete -c %[2]s -a '(__%[1]s_complete)'
`
