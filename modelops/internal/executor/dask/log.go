package dask

import (
	"bytes"
	"log/slog"
)

// logWriter puts what Python libraries say into the driver's log, line by line.
type logWriter struct{ log *slog.Logger }

// Write implements io.Writer. It is given whole lines but for the longest.
func (w logWriter) Write(p []byte) (int, error) {
	for text := range bytes.Lines(p) {
		if text = bytes.TrimSpace(text); len(text) > 0 {
			w.log.Info("dask", "says", string(text))
		}
	}
	return len(p), nil
}
