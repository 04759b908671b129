package registry

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialTimeout = 30 * time.Second
	// socketBuffer is the size of a connection's read and write buffers, in bytes. A large one saves system calls.
	socketBuffer = 64 << 10
	// pingAfter is how long nothing may come on a HTTP/2 connection before it is tested. The requests that repeat a
	// stalled one would otherwise go to the same dead connection.
	pingAfter = 30 * time.Second
	// idlePerHost is how many connections to one host stay open between two requests.
	idlePerHost = 64
)

// newTransport returns the transport for a registry and whatever host it sends us to.
//
// Compression is off: net/http would gunzip what a server marks as gzip, and a layer would no longer be what its
// digest says.
func newTransport(o HostOptions, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.DialContext,
		OnProxyConnectResponse: checkConnect,
		TLSClientConfig: &tls.Config{
			RootCAs: roots(o.CAs), Certificates: o.Certificates, InsecureSkipVerify: o.InsecureSkipVerify,
		},
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true, // net/http leaves it out when it gets a TLS config
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter / 2},
		DisableCompression:    true,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        socketBuffer,
		WriteBufferSize:       socketBuffer,
	}
}

// roots returns the authorities of the system together with extra; nil stands for the system's alone.
func roots(extra []*x509.Certificate) *x509.CertPool {
	if len(extra) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system without any
		pool = x509.NewCertPool()
	}
	for _, ca := range extra {
		pool.AddCert(ca)
	}
	return pool
}
