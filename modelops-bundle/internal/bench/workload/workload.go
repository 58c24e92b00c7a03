// Package workload writes the directories that the benchmark moves. They are the same
// bytes on every machine, so that figures of different days and machines are comparable.
package workload

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var words = strings.Fields(`model state rate beta gamma infection recovered susceptible exposed population
seed param scenario target replicate mean sigma delta time step contact matrix age group region network vaccine
coverage return def class import self for in range if else None True False numpy array shape dtype float int str
result output input data frame index column value list dict tuple yield with open path read write config`)

// written is when unchanged files were, edited when an edit was.
var (
	written = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	edited  = written.Add(time.Hour)
)

// Write makes the workload of that name in dir, which it creates:
//
//	W0     modes, empty files, links, blanks, non-ASCII, hidden files, depth
//	W1     300 source files (5 MB) and a CSV of 50 MB
//	W4     W1 with a line added to a source file
//	W4csv  W1 with a row in the middle of the CSV changed
//	W2     20,000 files of 1 to 8 KB;  W2b: one of them changed
//	W3     four incompressible files of 512 MiB
//	W5     W3 with 1 MiB overwritten in the middle of one;  W5ins: inserted there
//
// Eighth makes the files of W3, W5 and W5ins an eighth of that size, for slow links.
func Write(dir, name string, eighth bool) error {
	blocks := 512
	if eighth {
		blocks /= 8
	}
	switch name {
	case "W0":
		return fidelity(dir)
	case "W1", "W4", "W4csv":
		return project(dir, name)
	case "W2", "W2b":
		return manyFiles(dir, name == "W2b")
	case "W3", "W5", "W5ins":
		return largeFiles(dir, name, blocks)
	}
	return fmt.Errorf("there is no workload %q", name)
}

func project(dir, name string) error {
	r := rand.New(rand.NewPCG(1, 300))
	extensions := []string{"py", "py", "py", "yaml", "md", "json"}
	for i := range 300 {
		content, at := text(r, 2000+r.IntN(30000)), written
		if name == "W4" && i == 137 {
			content, at = append([]byte("# one line changed\n"), content...), edited
		}
		path := filepath.Join(dir, fmt.Sprintf("src/pkg%02d/mod_%03d.%s", i%12, i, extensions[i%6]))
		if err := put(path, content, 0o644, at); err != nil {
			return err
		}
	}
	row, at := -1, written
	if name == "W4csv" {
		row, at = 400000, edited
	}
	return table(filepath.Join(dir, "data", "input.csv"), 50<<20, row, at)
}

func manyFiles(dir string, change bool) error {
	r := rand.New(rand.NewPCG(2, 20000))
	for i := range 20000 {
		path := filepath.Join(dir, fmt.Sprintf("d%02d/e%02d/f%05d.txt", i/1000, (i/100)%10, i))
		if err := put(path, text(r, 1024+r.IntN(7169)), 0o644, written); err != nil {
			return err
		}
	}
	if !change {
		return nil
	}
	return put(filepath.Join(dir, "d10", "e05", "f10500.txt"), []byte("changed\n"), 0o644, edited)
}

func largeFiles(dir, name string, blocks int) error {
	for k := range 4 {
		edit := ""
		if k == 2 {
			edit = name
		}
		if err := large(filepath.Join(dir, "data", fmt.Sprintf("part%d.bin", k)), k, edit, blocks); err != nil {
			return err
		}
	}
	return nil
}

// large writes blocks of 1 MiB; W5 overwrites the middle one and W5ins inserts before it.
func large(path string, k int, edit string, blocks int) error {
	at, block, change := written, make([]byte, 1<<20), make([]byte, 1<<20)
	source := chacha(uint64(1000 + k))
	_, _ = chacha(9999).Read(change)
	err := stream(path, func(w *bufio.Writer) {
		for i := range blocks {
			_, _ = source.Read(block)
			out := block
			if i == blocks/2 && edit == "W5ins" {
				_, _ = w.Write(change)
			}
			if i == blocks/2 && edit == "W5" {
				out = change
			}
			_, _ = w.Write(out)
		}
	})
	if err != nil {
		return err
	}
	if edit == "W5" || edit == "W5ins" {
		at = edited
	}
	return os.Chtimes(path, at, at)
}

func table(path string, size, changed int, at time.Time) error {
	r := rand.New(rand.NewPCG(7, 50))
	err := stream(path, func(w *bufio.Writer) {
		n, _ := fmt.Fprintln(w, "id,age,region,date,incidence,prevalence,weight")
		for i := 0; n < size; i++ {
			age, region, day := r.IntN(90), r.IntN(500), r.IntN(3650)
			x, y, z := r.Float64(), r.Float64()*100, r.NormFloat64()
			if i == changed {
				x, y = 0.123456789, 99.5
			}
			k, _ := fmt.Fprintf(w, "%d,%d,R%03d,%d,%.9f,%.6f,%.6f\n", i, age, region, day, x, y, z)
			n += k
		}
	})
	if err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

// fidelity is what may get lost on the way through a registry.
func fidelity(dir string) error {
	files := []struct {
		path, content string
		mode          os.FileMode
	}{
		{"plain.txt", "hello\n", 0o644},
		{"run.sh", "#!/bin/sh\necho hi\n", 0o755},
		{"private.key", "k\n", 0o600},
		{"readonly.txt", "ro\n", 0o444},
		{"empty.txt", "", 0o644},
		{"sp ace/na me é 数据.txt", "u\n", 0o644},
		{"colon:name@x.txt", "c\n", 0o644},
		{".hidden/.env", "A=1\n", 0o644},
		{"dup/a.txt", "same\n", 0o644},
		{"dup/b.txt", "same\n", 0o644},
		{strings.Repeat("deep/", 30) + "leaf.txt", "d\n", 0o644},
	}
	for _, f := range files {
		if err := put(filepath.Join(dir, f.path), []byte(f.content), f.mode, written); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "emptydir"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("plain.txt", filepath.Join(dir, "link.txt")); err != nil {
		return err
	}
	if err := os.Symlink("sp ace", filepath.Join(dir, "dirlink")); err != nil {
		return err
	}
	return os.Link(filepath.Join(dir, "plain.txt"), filepath.Join(dir, "hard.txt"))
}

func text(r *rand.Rand, n int) []byte {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(strings.Repeat("    ", r.IntN(4)))
		for range 3 + r.IntN(9) {
			b.WriteString(words[r.IntN(len(words))])
			if r.IntN(6) == 0 {
				fmt.Fprintf(&b, "_%d", r.IntN(10000))
			}
			b.WriteByte(" =(.,)"[r.IntN(6)])
		}
		b.WriteByte('\n')
	}
	return []byte(b.String()[:n])
}

func chacha(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func put(path string, content []byte, mode os.FileMode, at time.Time) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

// stream creates a file and hands its writer to fill; the writer keeps the first error.
func stream(path string, fill func(*bufio.Writer)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	fill(w)
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
