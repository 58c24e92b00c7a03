package command

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// Help is the help text of the last command of path, which leads to it from the root.
func Help(path []*cli.Command) string {
	command := path[len(path)-1]
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage:\n  %s\n", line(path), command.Usage, synopsis(path))
	if text := strings.TrimSpace(command.Description); text != "" {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	if text := strings.TrimSpace(command.UsageText); text != "" {
		fmt.Fprintf(&b, "\nExample:\n")
		for example := range strings.SplitSeq(text, "\n") {
			fmt.Fprintf(&b, "  %s\n", strings.TrimSpace(example))
		}
	}
	rows := [][2]string{}
	for _, sub := range command.Subcommands {
		if !sub.Hidden {
			rows = append(rows, [2]string{sub.Name, sub.Usage})
		}
	}
	writeRows(&b, "Commands", rows)
	rows = rows[:0]
	for _, f := range visibleFlags(command) {
		rows = append(rows, flagRow(f))
	}
	writeRows(&b, "Flags", rows)
	return b.String()
}

func synopsis(path []*cli.Command) string {
	command := path[len(path)-1]
	parts := []string{line(path)}
	switch {
	case len(command.Subcommands) > 0:
		parts = append(parts, "COMMAND")
	case command.ArgsUsage != "":
		parts = append(parts, command.ArgsUsage)
	}
	if !command.SkipFlagParsing {
		parts = append(parts, "[flags]")
	}
	return strings.Join(parts, " ")
}

func writeRows(b *strings.Builder, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
	}
	_ = w.Flush() // a strings.Builder takes everything
}

// flagRow is "--output FILE, -o FILE" and what it is for.
func flagRow(f cli.Flag) [2]string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return [2]string{dashed(f.Names()[0]), ""}
	}
	value, usage := placeholder(doc)
	var names []string
	for _, name := range f.Names() {
		names = append(names, dashed(name)+value)
	}
	if slice, ok := f.(cli.DocGenerationSliceFlag); ok && slice.IsSliceFlag() {
		usage += " (may be repeated)"
	}
	switch text := strings.Trim(doc.GetDefaultText(), `"`); {
	case doc.TakesValue() && text != "" && text != "0":
		usage += " (default " + text + ")"
	case !doc.TakesValue() && text == "true":
		usage += " (the default; " + dashed(f.Names()[0]) + "=false turns it off)"
	}
	return [2]string{strings.Join(names, ", "), usage}
}

func placeholder(doc cli.DocGenerationFlag) (value, usage string) {
	usage = doc.GetUsage()
	if !doc.TakesValue() {
		return "", usage
	}
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		if name, after, ok := strings.Cut(rest, "`"); ok {
			return " " + name, before + name + after
		}
	}
	return " VALUE", usage
}

func visibleFlags(command *cli.Command) []cli.Flag {
	var flags []cli.Flag
	for _, f := range command.Flags {
		if v, ok := f.(cli.VisibleFlag); !ok || v.IsVisible() {
			flags = append(flags, f)
		}
	}
	return flags
}
