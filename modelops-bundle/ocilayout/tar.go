package ocilayout

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// maxEntries bounds what is kept of a tar file's headers: more than any bundle has blobs.
const maxEntries = 50_000

// archive is a layout in a tar file, and where its regular files lie in it.
type archive struct {
	file  *os.File
	spans map[string]span
}

type span struct{ at, size int64 }

// openTar reads the headers. A layout has regular files and directories: anything else
// that a tar file can hold is refused, and with it the whole file.
func openTar(name string) (files, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	a := &archive{f, map[string]span{}}
	if err := a.scan(name); err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

func (a *archive) scan(name string) error {
	info, err := a.file.Stat()
	if err != nil {
		return unreadable(name, err)
	}
	reader := tar.NewReader(a.file)
	directories := map[string]bool{}
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return invalid(name, "it is not a tar file, or is cut off: "+contracts.Quote(err.Error()))
		}
		clean, problem := a.check(header)
		if problem == "" && len(a.spans)+len(directories) >= maxEntries {
			problem = "is one too many"
		}
		if problem != "" {
			return invalid(name, "its entry "+contracts.Quote(header.Name)+" "+problem)
		}
		at, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return unreadable(name, err)
		}
		_, twice := a.spans[clean]
		switch {
		case twice, header.Typeflag == tar.TypeReg && directories[clean]:
			return invalid(name, "its entry "+contracts.Quote(header.Name)+" is there twice")
		case header.Typeflag == tar.TypeDir:
			directories[clean] = true
		case header.Size < 0 || header.Size > info.Size()-at:
			return invalid(name, "its entry "+contracts.Quote(header.Name)+" is larger than the file")
		default:
			a.spans[clean] = span{at, header.Size}
		}
	}
}

// check says what is wrong with an entry, or its clean name.
func (a *archive) check(h *tar.Header) (clean, problem string) {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return "", "is neither a file nor a directory"
	}
	if h.Mode&^0o777 != 0 && h.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
		return "", "has a set-id bit"
	}
	for key := range h.PAXRecords {
		if key == "size" || strings.HasPrefix(key, "GNU.sparse.") {
			return "", "says its size in more than one way"
		}
	}
	clean = strings.TrimPrefix(strings.TrimSuffix(h.Name, "/"), "./")
	if h.Typeflag == tar.TypeDir && (clean == "." || clean == "") {
		return ".", "" // what tar makes of the directory itself
	}
	if !fs.ValidPath(clean) || path.Clean(clean) != clean || strings.ContainsAny(clean, "\\\x00") {
		return "", "has a name that leads elsewhere"
	}
	return clean, ""
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	s, ok := a.spans[name]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return io.NopCloser(io.NewSectionReader(a.file, s.at, s.size)), s.size, nil
}

func (a *archive) Close() error { return a.file.Close() }
