package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/registry/server"
)

// tlsOptions are the flags that say by which certificate a server is known.
type tlsOptions struct {
	SelfSigned bool
	Cert, Key  string
	CA         string   // file for the authority of a certificate that is made on the spot; empty: stdout
	Names      []string // of such a certificate, besides those of this machine
}

// add defines the flags.
func (o *tlsOptions) add(set *pflag.FlagSet) {
	set.StringVar(&o.Cert, "tls-cert", "", "speak https, with the certificate chain in this PEM `FILE`")
	set.StringVar(&o.Key, "tls-key", "", "its key is in this PEM `FILE`")
	set.BoolVar(&o.SelfSigned, "tls", false,
		"speak https with a certificate made on the spot; the authority that clients must trust is printed")
	set.StringVar(&o.CA, "tls-ca", "", "write the authority to `FILE` instead (with --tls)")
	set.StringArrayVar(&o.Names, "tls-name", nil, "make the certificate for this `NAME` or address, too (with --tls, repeatable)")
}

// check finds what is wrong with the flags alone.
func (o *tlsOptions) check() error {
	switch {
	case (o.Cert == "") != (o.Key == ""):
		return usagef("--tls-cert and --tls-key: both are needed")
	case o.Cert != "" && o.SelfSigned:
		return usagef("--tls makes a certificate, --tls-cert gives one: choose one of them")
	case !o.SelfSigned && (o.CA != "" || len(o.Names) > 0):
		return usagef("--tls-ca and --tls-name are about the certificate that --tls makes")
	}
	return nil
}

// config returns how TLS is spoken, nil for plain http. listen is the host that is listened at; empty is all interfaces.
func (o *tlsOptions) config(listen string, std *stdio) (*tls.Config, error) {
	var cert tls.Certificate
	var err error
	switch {
	case o.SelfSigned:
		cert, err = o.selfSigned(listen, std)
	case o.Cert != "":
		if cert, err = tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
			err = fmt.Errorf("--tls-cert %s, --tls-key %s: %w", o.Cert, o.Key, err)
		}
	default:
		return nil, nil
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, err
}

// selfSigned makes a certificate and tells its authority.
func (o *tlsOptions) selfSigned(listen string, std *stdio) (tls.Certificate, error) {
	cert, ca, err := server.NewCertificate(append(o.Names, ownNames(listen)...), std.Now())
	if err != nil {
		return cert, fmt.Errorf("--tls: %w", err)
	}
	if o.CA == "" {
		_, err := std.Out.Write(ca)
		return cert, err
	}
	if err := writeWhole(o.CA, ca); err != nil {
		return cert, fmt.Errorf("--tls-ca: %w", err)
	}
	std.say("clients have to trust the authority in %s", o.CA)
	return cert, nil
}

// ownNames returns the names and addresses by which this machine can be reached at the host that is listened at.
func ownNames(listen string) []string {
	var names []string
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	names = append(names, "localhost")
	if ip := net.ParseIP(listen); listen != "" && (ip == nil || !ip.IsUnspecified()) {
		return append(names, listen)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return append(names, "127.0.0.1", "::1")
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			names = append(names, n.IP.String())
		}
	}
	return names
}

// reachableHost returns the host by which others reach a server that listens at the address: the first address of this machine
// that is not its own alone, when it listens at all of them.
func reachableHost(a *net.TCPAddr) string {
	if !a.IP.IsUnspecified() {
		return a.IP.String()
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "localhost"
	}
	for _, address := range addresses {
		if n, ok := address.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "localhost"
}
