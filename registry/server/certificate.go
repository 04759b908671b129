package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"time"
)

const (
	// certificateTime is how long certificates made on the spot are valid. More than 398 days some clients do not take.
	certificateTime = 365 * 24 * time.Hour
	// clockSkew is how far the clocks of clients may be behind.
	clockSkew = 24 * time.Hour
)

// maxSerial is one more than the largest serial number: 20 bytes, the first bit of which is not set, are the limit of X.509.
var maxSerial = new(big.Int).Lsh(big.NewInt(1), 159)

// NewCertificate makes a certificate for a server that goes by those names and IP addresses, valid for a year from now, and an
// authority that has signed it and is for nothing else: its key is thrown away. ca is the authority's certificate in PEM, which
// clients have to trust.
func NewCertificate(hosts []string, now time.Time) (cert tls.Certificate, ca []byte, err error) {
	if len(hosts) == 0 {
		return cert, nil, errors.New("a certificate for no name")
	}
	authority, err := newTemplate("ferry serve authority of "+hosts[0], now)
	if err != nil {
		return cert, nil, err
	}
	authority.IsCA, authority.BasicConstraintsValid, authority.MaxPathLenZero = true, true, true
	authority.KeyUsage = x509.KeyUsageCertSign
	leaf, err := newTemplate(hosts[0], now)
	if err != nil {
		return cert, nil, err
	}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	caBytes, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return cert, nil, err
	}
	leafBytes, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), authorityKey)
	if err != nil {
		return cert, nil, err
	}
	cert = tls.Certificate{Certificate: [][]byte{leafBytes}, PrivateKey: key}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caBytes}), nil
}

// newTemplate returns what both certificates have in common.
func newTemplate(name string, now time.Time) (*x509.Certificate, error) {
	const maxCommonName = 64 // of X.509
	serial, err := rand.Int(rand.Reader, maxSerial)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name[:min(len(name), maxCommonName)]},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(certificateTime - clockSkew),
	}, nil
}
