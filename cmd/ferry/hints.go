package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// connectionHints returns what the user can do when a registry could not be spoken to.
func connectionHints(err error) []string {
	f := flagsOf(err)
	var certificate *registry.CertificateError
	var client *registry.ClientCertificateError
	var proxy *registry.ProxyError
	var server *registry.TokenServerError
	var unreachable *registry.UnreachableError
	var quota *registry.QuotaError
	var unkept *unkeptError
	if told := pushHints(err); told != nil {
		return told
	}
	switch {
	case errors.As(err, &quota):
		return []string{"--wait-quota waits until the quota opens again, and goes on; Docker Hub gives more to those who log in"}
	case isTooMany(err):
		return []string{"the registry gets too many requests: --transfers 2 makes fewer at once, --requests-per-second 5 fewer in all"}
	case errors.As(err, &certificate):
		return certificateHints(certificate, f)
	case errors.As(err, &client):
		return []string{fmt.Sprintf("%s asks for a client certificate: put client.cert and client.key into a folder, and name it: %s DIR "+
			"(%s/client.cert is found without it)", client.Host, f.name("cert-dir"), filepath.Join("/etc/docker/certs.d", client.Host))}
	case errors.As(err, &proxy):
		return proxyHints(proxy, f)
	case errors.Is(err, registry.ErrPlainHTTP):
		return []string{fmt.Sprintf("%s=false allows plain http", f.name("tls-verify"))}
	case errors.Is(err, registry.ErrNoHelper):
		return []string{"install the helper, or take credsStore or credHelpers, which name it, out of the file; " +
			"REGISTRY_AUTH_FILE=FILE keeps logins in a file of its own"}
	case errors.As(err, &unkept):
		return []string{"the registry takes the password; REGISTRY_AUTH_FILE=FILE keeps it in a file of its own"}
	case errors.Is(err, oci.ErrDenied):
		return deniedHints(err, f)
	case errors.As(err, &server):
		return []string{fmt.Sprintf("%s names %s as its token server (the realm of its answer 401); if that is wrong, the registry is set up "+
			"so: external_url of a Harbor, auth.token.realm of distribution", server.Host, cmp.Or(server.Server, "another host"))}
	case errors.As(err, &unreachable):
		return []string{fmt.Sprintf("check the name and the port; if only a proxy leads there, give it with HTTPS_PROXY or %s URL", f.name("proxy"))}
	}
	return nil
}

// isTooMany reports whether a registry said 429 to the last.
func isTooMany(err error) bool {
	var status *registry.Error
	return errors.As(err, &status) && status.Status == http.StatusTooManyRequests
}

// certificateHints says whom to trust, and warns of a proxy that reads along.
func certificateHints(e *registry.CertificateError, f endFlags) []string {
	off := fmt.Sprintf("%s=false checks no certificate, for a network that can be trusted", f.name("tls-verify"))
	if !untrusted(e) {
		return []string{off}
	}
	trust := fmt.Sprintf("the certificate is issued by %q; if you trust that authority, name its file: %s FILE", e.Issuer, f.name("ca"))
	if e.Proxy == "" {
		return []string{trust, off}
	}
	return []string{trust, fmt.Sprintf("the proxy %s stands before %s, and may put a certificate of its own in place of the registry's; "+
		"who runs the proxy has its authority's file, and NO_PROXY or %s=none goes past it", e.Proxy, e.Host, f.name("proxy"))}
}

// proxyHints says what can be done where a proxy does not do its part.
func proxyHints(e *registry.ProxyError, f endFlags) []string {
	past := fmt.Sprintf("if %s is reached without a proxy, NO_PROXY or %s=none says so", e.Host, f.name("proxy"))
	switch e.Status {
	case 0:
		return []string{fmt.Sprintf("check the proxy's name and port in HTTPS_PROXY, HTTP_PROXY or %s", f.name("proxy")), past}
	case http.StatusProxyAuthRequired:
		return []string{fmt.Sprintf("the proxy wants a user name and a password: HTTPS_PROXY=http://USER:PASSWORD@%s (special signs in them "+
			"as %%XX)", e.Proxy), past}
	}
	return []string{fmt.Sprintf("the proxy cannot or will not reach %s; who runs it can allow that", e.Host), past}
}

// untrusted tells a certificate of an unknown authority from one that is out of date or another host's.
func untrusted(e *registry.CertificateError) bool {
	var authority x509.UnknownAuthorityError
	return errors.As(e, &authority)
}

// endFlags names the flags of one end of a copy, or those of both when the end is not known.
type endFlags struct{ sides []side }

func flagsOf(err error) endFlags {
	var end *endError
	if errors.As(err, &end) {
		return endFlags{[]side{end.side}}
	}
	return endFlags{[]side{sideSource, sideDest}}
}

func (f endFlags) name(flag string) string {
	var names []string
	for _, s := range f.sides {
		names = append(names, "--"+s.flag(flag))
	}
	return strings.Join(names, " or ")
}
