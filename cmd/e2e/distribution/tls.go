package distribution

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CAName is the common name of the private CA that signs the certificate of a registry with TLS.
const CAName = "Ferry E2E Private CA"

// CAFile returns the PEM file with the certificate of the private CA. It is there when Options.TLS was set, until
// Close.
func (s *Server) CAFile() string { return filepath.Join(s.CertDir(), "ca.crt") }

// CertDir returns a folder as Docker lays it out for one host under certs.d: ca.crt, and with Options.MutualTLS the
// client.cert and client.key that the registry asks for. It is there as long as CAFile is.
func (s *Server) CertDir() string { return filepath.Join(s.dir, "certs") }

// configureTLS makes a CA, a certificate for the server, and one for clients when they have to show one.
func (s *Server) configureTLS(mutual bool) (*tls.Config, error) {
	if err := os.Mkdir(s.CertDir(), 0o755); err != nil {
		return nil, err
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	if err := writePEM(s.CAFile(), "CERTIFICATE", ca.der, 0o644); err != nil {
		return nil, err
	}
	server, err := ca.issue(2, "localhost", x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS12}
	if !mutual {
		return config, nil
	}
	config.ClientCAs = x509.NewCertPool()
	config.ClientCAs.AddCert(ca.certificate)
	config.ClientAuth = tls.RequireAndVerifyClientCert
	client, err := ca.issue(3, "ferry e2e client", x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	return config, s.writeClient(client)
}

// writeClient writes the certificate of a client and its key as Docker names them.
func (s *Server) writeClient(client tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(s.CertDir(), "client.cert"), "CERTIFICATE", client.Certificate[0], 0o644),
		writePEM(filepath.Join(s.CertDir(), "client.key"), "PRIVATE KEY", key, 0o600),
	)
}

func writePEM(file, kind string, der []byte, mode fs.FileMode) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// authority is a private CA.
type authority struct {
	certificate *x509.Certificate
	der         []byte
	key         *ecdsa.PrivateKey
}

// newAuthority makes a CA that ends after a day, as all that it issues does.
func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certificate := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: CAName},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err = x509.ParseCertificate(der)
	return &authority{certificate: certificate, der: der, key: key}, err
}

// issue makes a certificate for 127.0.0.1, ::1 and localhost.
func (a *authority) issue(serial int64, name string, usage x509.ExtKeyUsage) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    a.certificate.NotBefore,
		NotAfter:     a.certificate.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
