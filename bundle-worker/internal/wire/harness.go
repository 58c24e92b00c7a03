//go:build unix

package wire

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
	//go:embed harness/harness.py
	harnessSource string
	//go:embed harness/start.py
	startSource string
	//go:embed harness/byhand.py
	byhandSource string
	//go:embed harness/failure.py
	failureSource string
	//go:embed harness/target.py
	targetSource string
)

const (
	startFile   = "start.py"
	harnessFile = "harness.py"
)

// harnessTime is that of the harness's file: what is compiled of one copy holds for all.
var harnessTime = time.Unix(1_000_000_000, 0)

// WriteHarness writes the program that calls wires to dir, and returns its path: it runs a
// task by hand, and [startFile] beside it serves a worker. Each process has its own: none can
// change that of another.
func WriteHarness(dir string) (string, error) {
	return writeHarness(dir, harnessText())
}

func writeHarness(dir string, text []byte) (string, error) {
	path := filepath.Join(dir, harnessFile)
	if err := os.WriteFile(path, text, 0o400); err != nil {
		return "", err
	}
	if err := os.Chtimes(path, harnessTime, harnessTime); err != nil {
		return "", err
	}
	return path, os.WriteFile(filepath.Join(dir, startFile), []byte(startSource), 0o400)
}

// harnessText is harness.py with the text of the other files in it.
func harnessText() []byte {
	const empty = "\nPARTS = {"
	before, after, _ := strings.Cut(harnessSource, empty)
	text := append(make([]byte, 0, 64<<10), before+empty...)
	for _, part := range []struct{ name, source string }{{"byhand", byhandSource}, {"failure", failureSource}, {"target", targetSource}} {
		text = append(strconv.AppendQuote(text, part.name), ": "...)
		text = append(strconv.AppendQuoteToASCII(text, part.source), ", "...) // as Python quotes, too
	}
	return append(text, after...)
}
