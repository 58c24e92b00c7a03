//go:build unix

package owned

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

const nobody = 65534

func TestDirectory(t *testing.T) {
	base := t.TempDir()
	for name, prepare := range map[string]func() (string, error){
		"the root itself, for its group": func() (string, error) {
			root := filepath.Join(base, "group")
			return root, errors.Join(os.Mkdir(root, 0o700), os.Chmod(root, 0o720))
		},
		"the root itself, for others": func() (string, error) {
			root := filepath.Join(base, "others")
			return root, errors.Join(os.Mkdir(root, 0o700), os.Chmod(root, 0o702))
		},
		"the root itself, though it is sticky": func() (string, error) {
			root := filepath.Join(base, "own-sticky")
			return root, errors.Join(os.Mkdir(root, 0o700), os.Chmod(root, 0o777|fs.ModeSticky))
		},
		"the root itself, another's": func() (string, error) {
			if os.Geteuid() != 0 {
				return "/usr", nil // the system's is not ours
			}
			root := filepath.Join(base, "another")
			return root, errors.Join(os.Mkdir(root, 0o700), os.Chown(root, nobody, nobody))
		},
		"a link to another's": func() (string, error) {
			if os.Geteuid() != 0 {
				link := filepath.Join(base, "link")
				return link, os.Symlink("/usr", link)
			}
			target, link := filepath.Join(base, "target"), filepath.Join(base, "link")
			return link, errors.Join(os.Mkdir(target, 0o700), os.Chown(target, nobody, nobody), os.Symlink(target, link))
		},
		"its parent": func() (string, error) {
			parent := filepath.Join(base, "parent")
			return filepath.Join(parent, "root"), errors.Join(os.Mkdir(parent, 0o700), os.Chmod(parent, 0o777))
		},
		"a file": func() (string, error) {
			root := filepath.Join(base, "file")
			return root, os.WriteFile(root, nil, 0o600)
		},
	} {
		root, err := prepare()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Directory(root, "X")
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if name == "a file" {
			continue
		}
		if e := contracts.AsError(err); e.Code != contracts.CodeDenied || !strings.Contains(e.Hint, "X") {
			t.Errorf("%s: %+v", name, e)
		}
	}
	shared := filepath.Join(base, "sticky")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777|fs.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	if _, err := Directory(filepath.Join(shared, "ours"), "X"); err != nil {
		t.Errorf("ours in a sticky directory: %v", err)
	}
}
