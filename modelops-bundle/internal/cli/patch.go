package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/bundle"
	"github.com/modelops-suite/modelops-go/modelops-bundle/internal/project"
)

// maxText is the size in bytes from which files are not compared by their lines.
const maxText = 1 << 20

// detail is how the content of a file differs.
type detail struct {
	Patch   string `json:"patch"`
	Added   int    `json:"added_lines"`
	Deleted int    `json:"deleted_lines"`
	Binary  bool   `json:"binary,omitempty"` // or too large: Patch says so in words
	OldSize int64  `json:"old_size"`         // in bytes
	NewSize int64  `json:"new_size"`
}

// compareContent gives each change its detail. Of bundles only those blobs are fetched that
// have a small file which differs in them.
func compareContent(ctx context.Context, old, after *side, changes []fileChange) error {
	wanted := make(map[string]bool, len(changes))
	for _, change := range changes {
		before, now := old.file(change.Path), after.file(change.Path)
		wanted[change.Path] = before.Digest != now.Digest && before.Size < maxText && now.Size < maxText
	}
	for _, s := range []*side{old, after} {
		if err := s.fetch(ctx, wanted); err != nil {
			return err
		}
	}
	for i := range changes {
		path := changes[i].Path
		before, now := old.file(path), after.file(path)
		d := &detail{OldSize: before.Size, NewSize: now.Size}
		changes[i].detail = d
		d.Patch = header(before, now)
		switch {
		case before.Digest == now.Digest: // only the mode
			continue
		case !wanted[path]:
			d.Binary = true
			d.Patch += differ("Files", before, now)
			continue
		}
		a, err := old.read(before)
		if err != nil {
			return err
		}
		b, err := after.read(now)
		if err != nil {
			return err
		}
		if !isText(a) || !isText(b) {
			d.Binary = true
			d.Patch += differ("Binary files", before, now)
			continue
		}
		text := udiff.Unified(label("a/", before), label("b/", now), string(a), string(b))
		d.Patch += text
		d.Added, d.Deleted = count(text)
	}
	return nil
}

// fetch gets the wanted files of a bundle into a directory of their own.
func (s *side) fetch(ctx context.Context, wanted map[string]bool) error {
	want := func(f bundle.File) bool { return wanted[f.Path] }
	if s.remote == nil || !slices.ContainsFunc(s.files, want) {
		return nil
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "modelops-diff-"); err != nil {
		return project.Unwritable(os.TempDir(), err)
	}
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return project.Unwritable(s.dir, err)
	}
	_, err = s.remote.ExtractFiles(ctx, s.root, bundle.ExtractOptions{Want: want})
	return err
}

// read is the content of a file; of none, nothing.
func (s *side) read(f bundle.File) ([]byte, error) {
	if f.Path == "" {
		return nil, nil
	}
	file, err := s.root.Open(f.Path)
	if err != nil {
		return nil, unreadable(f.Path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxText))
	if err != nil {
		return nil, unreadable(f.Path, err)
	}
	if contracts.DigestOf(data) != f.Digest {
		return nil, &contracts.Error{
			Code: contracts.CodeConflict, Stage: contracts.StagePack,
			Message: contracts.Quote(f.Path) + " changed while it was read",
			Hint:    "wait until nothing writes to the project, then try again",
		}
	}
	return data, nil
}

func unreadable(path string, err error) error {
	return (&contracts.Error{
		Code: contracts.CodeFailed, Stage: contracts.StagePack,
		Message: contracts.Quote(path) + " cannot be read: " + contracts.Quote(err.Error()),
	}).Because(err)
}

// header is what git writes above a file's patch.
func header(before, now bundle.File) string {
	path := cmp.Or(now.Path, before.Path)
	text := fmt.Sprintf("diff --git a/%s b/%s\n", path, path)
	switch {
	case before.Path == "":
		text += fmt.Sprintf("new file mode 10%s\n", now.Mode)
	case now.Path == "":
		text += fmt.Sprintf("deleted file mode 10%s\n", before.Mode)
	case before.Mode != now.Mode:
		text += fmt.Sprintf("old mode 10%s\nnew mode 10%s\n", before.Mode, now.Mode)
	}
	if before.Digest != now.Digest { // git takes a binary file for none without it
		text += "index " + short(before) + ".." + short(now)
		if before.Mode == now.Mode {
			text += fmt.Sprintf(" 10%s", now.Mode)
		}
		text += "\n"
	}
	return text
}

// short is the beginning of a file's digest, or zeros.
func short(f bundle.File) string {
	if f.Path == "" {
		return strings.Repeat("0", 12)
	}
	return f.Digest.Short()
}

func label(side string, f bundle.File) string {
	if f.Path == "" {
		return "/dev/null"
	}
	return side + f.Path
}

// isText says whether content can be shown: UTF-8 without anything that a terminal would
// obey.
func isText(data []byte) bool {
	return utf8.Valid(data) && !strings.ContainsFunc(string(data), func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\f", r)
	})
}

// count counts the lines of a patch without header.
func count(patch string) (added, deleted int) {
	inside := false
	for line := range strings.Lines(patch) {
		switch {
		case strings.HasPrefix(line, "@@"):
			inside = true
		case inside && line[0] == '+':
			added++
		case inside && line[0] == '-':
			deleted++
		}
	}
	return added, deleted
}

// printStat is git diff --stat.
func printStat(w io.Writer, changes []fileChange) {
	const most = 60 // signs in a row
	width, largest, added, deleted := 0, 1, 0, 0
	for _, c := range changes {
		width = max(width, utf8.RuneCountInString(c.Path))
		largest = max(largest, c.Added+c.Deleted)
		added, deleted = added+c.Added, deleted+c.Deleted
	}
	scale := func(n int) int {
		if largest <= most || n == 0 {
			return n
		}
		return max(1, n*most/largest)
	}
	for _, c := range changes {
		what := fmt.Sprintf("%d %s%s", c.Added+c.Deleted, strings.Repeat("+", scale(c.Added)), strings.Repeat("-", scale(c.Deleted)))
		if c.Binary {
			what = fmt.Sprintf("%s -> %s", size(c.OldSize), size(c.NewSize))
		}
		fmt.Fprintf(w, " %-*s | %s\n", width, c.Path, strings.TrimRight(what, " "))
	}
	if len(changes) > 0 {
		fmt.Fprintf(w, " %s changed, %s added, %d deleted\n", contracts.Count(len(changes), "file", "files"), contracts.Count(added, "line", "lines"), deleted)
	}
}

// differ is the line for files that are not shown, in words that git and patch pass over.
func differ(what string, before, now bundle.File) string {
	return fmt.Sprintf("%s %s (%s) and %s (%s) differ\n", what, label("a/", before), size(before.Size), label("b/", now), size(now.Size))
}
