package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/doctor"
)

// checkScheduler looks whether somebody listens where the scheduler is, and, when it is one
// with TLS, whether each of the two takes the other's certificate.
func checkScheduler(ctx context.Context, compute *contracts.Compute) doctor.Check {
	c := doctor.Check{Name: "scheduler", Looked: compute.Scheduler}
	address, err := url.Parse(compute.Scheduler)
	if err != nil {
		return c.Failed(contracts.CodeInvalidEnvironment, "it is tcp://host:port or tls://host:port", "it is no address")
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address.Host)
	if _, unknown := errors.AsType[*net.DNSError](err); unknown && compute.Kubernetes != nil {
		return c.Skipped("only pods of the cluster know that name, and jobs have their driver there; mops workspace status looks into it")
	}
	if err != nil {
		return failedToReach(c, err)
	}
	defer func() { _ = conn.Close() }()
	if compute.TLS == nil {
		return c.OK("it listens")
	}
	config, err := daskTLS(compute.TLS)
	if err != nil {
		return c.FailedWith(err)
	}
	deadline, _ := ctx.Deadline() // it was just set
	if err := conn.SetDeadline(deadline); err != nil {
		return failedToReach(c, err)
	}
	// A scheduler speaks first. What it says is of no interest, only that it does: one that
	// refuses a certificate says so after the handshake.
	if _, err := tls.Client(conn, config).Read(make([]byte, 1)); err != nil {
		return notTrusted(c, err)
	}
	return c.OK("it listens, and takes the certificate")
}

// daskTLS is how Dask's clients speak TLS: they trust a cluster's own authority, whatever
// the host is called.
func daskTLS(files *contracts.ComputeTLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // the name only, see below
	if files.CAFile != "" {
		pem, err := os.ReadFile(files.CAFile)
		if err != nil {
			return nil, readError(files.CAFile, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &contracts.Error{Code: contracts.CodeInvalidEnvironment, Message: "compute.tls.ca_file " + contracts.Quote(files.CAFile) + " holds no certificate", Hint: "it is a PEM file"}
		}
	}
	if files.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return nil, (&contracts.Error{Code: contracts.CodeInvalidEnvironment, Message: "compute.tls.cert_file and key_file: " + err.Error(), Hint: "they are PEM files that belong together"}).Because(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		chain := x509.VerifyOptions{Roots: config.RootCAs, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
		for _, between := range state.PeerCertificates[1:] {
			chain.Intermediates.AddCert(between)
		}
		if _, err := state.PeerCertificates[0].Verify(chain); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
	return config, nil
}

// notTrusted says which of the two refused the other.
func notTrusted(c doctor.Check, err error) doctor.Check {
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return c.Failed(contracts.CodeUnavailable, "name the cluster's authority: compute.tls.ca_file", "its certificate is not trusted: %v", untrusted.Err)
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return c.Failed(contracts.CodeUnauthenticated, "name a certificate that the cluster's authority signed: compute.tls.cert_file and key_file", "it refuses this side: %v", alert.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return c.Failed(contracts.CodeUnavailable, "write tcp:// if it has no TLS", "it does not speak TLS")
	}
	return failedToReach(c, err)
}
