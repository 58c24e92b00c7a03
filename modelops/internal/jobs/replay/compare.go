package replay

import (
	"context"
	"io"
	"maps"
	"slices"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/contracts/difference"
)

// Output is one output of both.
type Output struct {
	Name            string      `json:"name"`
	Same            bool        `json:"same"`
	Recorded        *Bytes      `json:"recorded"` // null when there is no such output
	Replayed        *Bytes      `json:"replayed"` // likewise
	FirstDifference *Difference `json:"first_difference,omitempty"`
}

// Bytes say what an output's bytes are.
type Bytes struct {
	Size     int64  `json:"size"`
	Checksum string `json:"checksum"` // BLAKE2b-256
}

// Difference is where two outputs first differ.
type Difference struct {
	Offset int64 `json:"offset"`         // of the first byte that differs, or that only one has
	Line   int64 `json:"line,omitempty"` // the line that it is in, from 1; absent for what is no text
	// The line in both, cut to what is around the offset; of what is no text, the bytes
	// from the offset on in hexadecimal.
	Recorded string `json:"recorded"`
	Replayed string `json:"replayed"`
}

// compareOutputs compares the outputs of two results, by name.
func compareOutputs(ctx context.Context, recorded, replayed version) ([]Output, error) {
	names := slices.Concat(slices.Collect(maps.Keys(recorded.Outputs)), slices.Collect(maps.Keys(replayed.Outputs)))
	slices.Sort(names)
	outputs := []Output{}
	for _, name := range slices.Compact(names) {
		output := Output{Name: name, Recorded: bytesOf(recorded, name), Replayed: bytesOf(replayed, name)}
		both := output.Recorded != nil && output.Replayed != nil
		output.Same = both && *output.Recorded == *output.Replayed
		if both && !output.Same {
			var err error
			if output.FirstDifference, err = differ(ctx, name, recorded, replayed); err != nil {
				return nil, err
			}
		}
		outputs = append(outputs, output)
	}
	return outputs, nil
}

func bytesOf(v version, name string) *Bytes {
	artifact, ok := v.Outputs[name]
	if !ok {
		return nil
	}
	return &Bytes{Size: artifact.Size, Checksum: artifact.Checksum}
}

// differ finds where an output of both first differs.
func differ(ctx context.Context, name string, recorded, replayed version) (*Difference, error) {
	x, err := recorded.open(ctx, recorded.Outputs[name])
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.Close() }()
	y, err := replayed.open(ctx, replayed.Outputs[name])
	if err != nil {
		return nil, err
	}
	defer func() { _ = y.Close() }()
	d, err := difference.Find(x, y)
	if err == nil {
		_, err = io.Copy(io.Discard, x) // its end says whether these are the bytes that were stored
	}
	if err == nil && d == nil {
		err = &contracts.Error{Code: contracts.CodeIntegrity, Stage: contracts.StageStore,
			Message: "output " + contracts.Quote(name) + " has equal bytes under different checksums"}
	}
	if err != nil {
		return nil, err
	}
	return &Difference{d.Offset, d.Line, d.First, d.Second}, nil
}
