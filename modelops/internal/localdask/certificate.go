package localdask

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/modelops-bundle/atomicfile"
)

const (
	certifiedFor = 365 * 24 * time.Hour
	renewBefore  = 30 * 24 * time.Hour // the end of that
	clockSlack   = time.Hour           // by which clocks may be set back
)

// certify sees to it that the file holds a certificate that is good at the time now, and
// says when it is to be called again. The file, which only its owner can read, has
//
//   - a private key, the same one for everything in the cluster and for its clients,
//   - the key's certificate, for servers and for clients at 127.0.0.1,
//   - the certificate of the authority that signed it, and that signed nothing else: its key
//     was never written.
//
// All three are in one file so that they are replaced at once. Dask asks both ends of a
// connection for a certificate of the authority, so that who cannot read the file can
// neither run anything in the cluster nor pretend to be it.
func certify(path string, now time.Time) (renew time.Time, err error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, err
	}
	if pair, err := tls.X509KeyPair(data, data); err == nil {
		if renew := pair.Leaf.NotAfter.Add(-renewBefore); now.Before(renew) && !now.Before(pair.Leaf.NotBefore) {
			return renew, nil
		}
	}
	if data, err = issue(now); err != nil {
		return time.Time{}, err
	}
	return now.Add(certifiedFor - renewBefore), atomicfile.Write(path, data, 0o600)
}

// issue makes an authority and a certificate, as the file has them.
func issue(now time.Time) ([]byte, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := certificate("modelops local Dask authority", now)
	authority.IsCA, authority.MaxPathLenZero, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := certificate("modelops local Dask", now)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	for _, block := range []pem.Block{{Type: "PRIVATE KEY", Bytes: keyDER}, {Type: "CERTIFICATE", Bytes: leafDER}, {Type: "CERTIFICATE", Bytes: authorityDER}} {
		if err := pem.Encode(&file, &block); err != nil {
			return nil, err
		}
	}
	return file.Bytes(), nil
}

// certificate is what both certificates have in common. A serial number is chosen for it.
func certificate(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-clockSlack), NotAfter: now.Add(certifiedFor), BasicConstraintsValid: true,
	}
}
