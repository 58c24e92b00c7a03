package bundle

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"testing"
)

// workload is a typical project: a few hundred sources and one large table.
func workload(b *testing.B) (root *os.Root, size int64) {
	b.Helper()
	for _, content := range sample() {
		size += int64(len(content))
	}
	root, err := os.OpenRoot(sample().write(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = root.Close() })
	return root, size
}

// BenchmarkFloor reads and hashes every file, which nothing that verifies can do without.
func BenchmarkFloor(b *testing.B) {
	root, size := workload(b)
	sources, err := Scan(root)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		for _, source := range sources {
			f, err := root.Open(source.Path)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(sha256.New(), f); err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
		}
	}
}

// BenchmarkIdentify is the local side of an unchanged push.
func BenchmarkIdentify(b *testing.B) {
	root, size := workload(b)
	b.SetBytes(size)
	for b.Loop() {
		sources, err := Scan(root)
		if err == nil {
			_, err = Identify(context.Background(), root, sources, Packed, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuild is the local side of a first push.
func BenchmarkBuild(b *testing.B) {
	root, size := workload(b)
	b.SetBytes(size)
	for b.Loop() {
		sources, err := Scan(root)
		if err == nil {
			_, err = Build(context.Background(), root, sources, newMemory().sink)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExtract is the local side of a first pull.
func BenchmarkExtract(b *testing.B) {
	root, size := workload(b)
	sources, err := Scan(root)
	if err != nil {
		b.Fatal(err)
	}
	store := newMemory()
	x, err := Build(context.Background(), root, sources, store.sink)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		out, err := os.OpenRoot(b.TempDir())
		if err == nil {
			_, err = x.Extract(context.Background(), out, store)
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = out.Close()
	}
}
