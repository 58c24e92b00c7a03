package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestWorkloadsAreGolden holds the small workloads against the digests of the trees that
// the published targets were measured with.
func TestWorkloadsAreGolden(t *testing.T) {
	for name, want := range map[string]string{
		"W0":    "7c2aaa9ff07cdab3610a49656960e742b1225caa06341db9adb9c78a3eb6322a",
		"W1":    "b8751b4ef34345778105a6a854ab9d18cbb3558813cee72ccef424969ae9bf5c",
		"W4":    "930c62fafa5cc7509c387a23e426e232145f1d7428c7863fa897e340e3cceefb",
		"W4csv": "ae579b17f336d0c054fd9f1057671926e0de62857da6a8d30ab15422c2540f08",
	} {
		dir := filepath.Join(t.TempDir(), name)
		if err := Write(dir, name, false); err != nil {
			t.Fatal(err)
		}
		if got := treeDigest(t, dir); got != want {
			t.Errorf("%s has the digest %s, want %s", name, got, want)
		}
	}
}

// treeDigest covers every path with its kind, whether its owner may execute it, its time,
// and its content or target.
func treeDigest(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content string
		switch {
		case d.Type() == fs.ModeSymlink:
			content, err = os.Readlink(path)
		case d.Type().IsRegular():
			var data []byte
			data, err = os.ReadFile(path)
			content = fmt.Sprintf("%d %x", info.ModTime().Unix(), sha256.Sum256(data))
		}
		fmt.Fprintf(sum, "%s %s %t %s\n", filepath.ToSlash(rel), d.Type(), d.Type().IsRegular() && info.Mode()&0o100 != 0, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
