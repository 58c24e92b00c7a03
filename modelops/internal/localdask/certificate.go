package localdask

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
)

const (
	certifiedFor = 365 * 24 * time.Hour
	renewBefore  = 30 * 24 * time.Hour // the end of that
)

// certify sees to it that the file holds a certificate that is good at the time now, and
// says when it is to be called again. The file, which only its owner can read, has all
// parts of a [certificate.Shared], so that they are replaced at once.
func certify(path string, now time.Time) (renew time.Time, err error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, err
	}
	if renew, good := certificate.Renew(data, data, now, renewBefore); good {
		return renew, nil
	}
	shared, err := certificate.Issue("modelops local Dask", now, certifiedFor, net.IPv4(127, 0, 0, 1))
	if err != nil {
		return time.Time{}, err
	}
	data = bytes.Join([][]byte{shared.Key, shared.Certificate, shared.Authority}, nil)
	return now.Add(certifiedFor - renewBefore), atomicfile.Write(path, data, 0o600)
}
