//go:build unix

package harness

import (
	_ "embed"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The files of the harness.
var (
	//go:embed harness.py
	mainSource string
	//go:embed start.py
	startSource string
	//go:embed byhand.py
	byhandSource string
	//go:embed failure.py
	failureSource string
	//go:embed target.py
	targetSource string
)

// modified is the time of the harness's file: what is compiled of one copy holds for all.
var modified = time.Unix(1_000_000_000, 0)

// Write writes the program to dir, and returns its path: it runs a task by hand, and serves a
// worker when it is started by start.py. Each process has its own: none can change that of
// another.
func Write(dir string) (string, error) {
	path := filepath.Join(dir, "harness.py")
	if err := os.WriteFile(path, Text(), 0o400); err != nil {
		return "", err
	}
	return path, os.Chtimes(path, modified, modified)
}

// Text is harness.py with the text of the other files in it.
func Text() []byte {
	const empty = "\nPARTS = {"
	before, after, _ := strings.Cut(mainSource, empty)
	text := append(make([]byte, 0, 64<<10), before+empty...)
	for _, part := range []struct{ name, source string }{{"byhand", byhandSource}, {"failure", failureSource}, {"target", targetSource}} {
		text = append(strconv.AppendQuote(text, part.name), ": "...)
		text = append(strconv.AppendQuoteToASCII(text, part.source), ", "...) // as Python quotes, too
	}
	return append(text, after...)
}
