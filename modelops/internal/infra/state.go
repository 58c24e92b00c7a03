package infra

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

// writeState makes a file of the suite's own have this document, as JSON, if it has not.
func writeState(path string, document any) error {
	data, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Cannot("make", filepath.Dir(path), err)
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return Cannot("write", path, err)
	}
	return nil
}
