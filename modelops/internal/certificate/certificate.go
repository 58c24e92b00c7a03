// Package certificate makes what the processes of a Dask cluster, and its clients, know each
// other by: one key for them all, and a certificate that nobody else can have.
//
// Dask asks both ends of a connection for a certificate of the authority, whatever the host
// is called. So who has the key belongs to the cluster, and who has it not can neither run
// anything in it nor pretend to be it.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"time"
)

// ClockSlack is by how much the clocks of a cluster's machines may be set back.
const ClockSlack = time.Hour

// Shared is what everybody in a cluster has, each part as PEM.
type Shared struct {
	Key         []byte // private, PKCS #8
	Certificate []byte // the key's, for servers and for clients
	Authority   []byte // the certificate of who signed that, and nothing else: its key was never written
}

// Issue makes an authority and a certificate of this name. They are good from now on for as
// long as is said, and by these addresses for those who look at the host's name.
func Issue(name string, now time.Time, long time.Duration, addresses ...net.IP) (*Shared, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := template(name+" authority", now, long)
	authority.IsCA, authority.MaxPathLenZero, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := template(name, now, long)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.IPAddresses = addresses
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return &Shared{Key: encode("PRIVATE KEY", keyDER), Certificate: encode("CERTIFICATE", leafDER), Authority: encode("CERTIFICATE", authorityDER)}, nil
}

// template is what both certificates have in common. A serial number is chosen for it.
func template(name string, now time.Time, long time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-ClockSlack), NotAfter: now.Add(long), BasicConstraintsValid: true,
	}
}

// Term is from when until when a certificate with its key, both PEM, is good. An error says
// that they are damaged, or do not belong together.
func Term(certificate, key []byte) (from, until time.Time, err error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	return pair.Leaf.NotBefore, pair.Leaf.NotAfter, nil
}

// Renew is when a certificate with its key, both PEM, is to be replaced: early before its
// end. Not good says that it is to be replaced now: it is too late for that, or too early for
// the certificate, or the two are damaged or do not belong together.
func Renew(certificate, key []byte, now time.Time, early time.Duration) (at time.Time, good bool) {
	from, until, err := Term(certificate, key)
	if err != nil {
		return time.Time{}, false
	}
	at = until.Add(-early)
	return at, now.Before(at) && !now.Before(from)
}
