// Package registry speaks the OCI distribution API as a client.
//
// Start with [NewClient]. A [Client] serves any number of registries at once: the host of a repository decides which
// one is asked, and [Options.Host] how. It is an end of a copy in both directions: an [oci.Source] whose readers go on
// by themselves where a connection was cut, and an [oci.Sink] that never sends the last bytes of a blob before ferry
// has proven them.
//
// Whatever may pass is tried again, within bounds: cut connections, transfers that stand still, 5xx, and 429 with the
// pause that the registry asks for, which all requests to that host then keep, fewer at a time. Errors name the host, and no error
// holds a secret: no password, no token, no query of a URL.
//
// Specification: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// Credential is what a registry, or its token server, is given to prove who asks. The zero value is nobody.
type Credential = auth.Credential

// Scheme says how a host is spoken to.
type Scheme string

const (
	// SchemeAuto is https, and plain http on a loopback host. With [HostOptions.InsecureSkipVerify] https is tried
	// first on any host, and plain http when the host does not speak https.
	SchemeAuto  Scheme = ""
	SchemeHTTP  Scheme = "http"
	SchemeHTTPS Scheme = "https"
)

// HostOptions is what is special about one registry. The zero value works.
type HostOptions struct {
	Scheme Scheme
	// CAs are trusted in addition to the authorities of the system, see [ParseCAs].
	CAs []*x509.Certificate
	// Certificates prove who we are to a registry that asks for a client certificate.
	Certificates []tls.Certificate
	// InsecureSkipVerify accepts any certificate, also of the hosts that the registry redirects to.
	InsecureSkipVerify bool
	// Credential is asked when the registry wants one for a repository, once for each unless a token runs out. The
	// host is as references name it, such as `docker.io`. It may be called by several goroutines at once, and its
	// errors must hold no secret. Nil is nobody.
	Credential func(ctx context.Context, repo oci.Repository) (Credential, error)
	// Proxy is that of [http.Transport], see [ProxyRules]. It is asked for the hosts that the registry sends us to, too.
	// Nil is [Options.Proxy].
	Proxy func(*http.Request) (*url.URL, error)
	// Mirrors are asked before the registry when something is read, in this order.
	Mirrors []Mirror
	// MirrorsOnly leaves out the registry itself when something is read.
	MirrorsOnly bool
	// Err is what is wrong with the options, unless it is nil. All that the registry is asked for ends with it.
	Err error
}

// Options are the options of a [Client]. The zero value works.
type Options struct {
	// Host gives the options of a host, named as references name it, such as `docker.io` or `127.0.0.1:5000`. It is
	// called once for each host. Nil is the zero HostOptions for all.
	Host func(host string) HostOptions
	// UserAgent is sent with each request; `ferry` when empty.
	UserAgent string
	// Retries is how often a request is sent again, and how often in a row a download goes on without having got a
	// byte, before it is given up. 0 is 6, which takes about half a minute; a negative number is none.
	Retries int
	// StallTimeout is how long a transfer may stand still before it counts as cut. 0 is a minute.
	StallTimeout time.Duration
	// StateDir is a folder in which the client keeps where its uploads stand, so that a later process goes on with one
	// that was cut. What is in it may be used to write to a registry, so nobody else can read it. It is made when there
	// is something to keep. Empty keeps nothing.
	StateDir string
	// LimitRate is how many bytes of blobs and manifests move in a second at the most, all hosts and both directions
	// together. 0 is any number.
	LimitRate int64
	// RequestsPerSecond is how many requests each host gets in a second at the most. 0 is any number.
	RequestsPerSecond float64
	// WaitQuota waits where a registry says that a quota is used up, as Docker Hub's for pulls, until it has opened
	// again, however long that takes. Without it that is an error.
	WaitQuota bool
	// Events is told what the caller would otherwise not see. It may be called by several goroutines at once.
	Events func(Event)
	// Proxy is that of [http.Transport]; nil is [http.ProxyFromEnvironment].
	Proxy func(*http.Request) (*url.URL, error)
}

// EventKind says what an [Event] is about.
type EventKind int

const (
	// EventRetry comes before a request is sent again.
	EventRetry EventKind = iota
	// EventWaiting comes before a pause that the registry asked for.
	EventWaiting
	// EventResumed comes when a download goes on where it was cut.
	EventResumed
	// EventFewer comes when the host said that requests are too many and fewer of them go on at once, AtOnce.
	EventFewer
	// EventMirrorPassed comes when a mirror, the Host, does not have what it was asked for and the next one is asked.
	EventMirrorPassed
	// EventMirrorOff comes once for a mirror that is not asked any more.
	EventMirrorOff
	// EventNotListed comes once for a repository, the Host and its path, that does not list its tags, or not what is about
	// its manifests: signatures that are found by that alone are not found.
	EventNotListed
	// EventAway comes once for a registry that cannot be reached and whose mirrors are asked for what is about its
	// manifests.
	EventAway
	// EventForeign comes when a layer that the registry lacks is read from the Host of one of its URLs.
	EventForeign
)

// Event tells of a disturbance that the client gets over by itself.
type Event struct {
	Kind    EventKind
	Host    string        // host[:port] of the server, which may be one that the registry redirected to
	Attempt int           // 1 for the first repetition
	Wait    time.Duration // until the next attempt
	AtOnce  int           // of EventFewer
	Why     error
}

// Client speaks to registries. It is safe for concurrent use.
type Client struct {
	opts  Options
	clock clock
	line  line

	mu    sync.Mutex
	hosts map[string]*host
	gates map[string]*gate

	sessions sessions
	lists    lists
	unlisted sync.Map // repositories of which EventNotListed was told
	denied   sync.Map // repositories that deny what is about their manifests
	turns    turns    // to change a fallback index
	stats    counters

	sweepOnce sync.Once // of the state of uploads
}

var (
	_ oci.Source   = (*Client)(nil)
	_ oci.Resolver = (*Client)(nil)
	_ oci.Sink     = (*Client)(nil)
	_ oci.Mounter  = (*Client)(nil)
	_ oci.Tagger   = (*Client)(nil)

	_ oci.ReferrerFinder = (*Client)(nil)
	_ oci.Attacher       = (*Client)(nil)
)

// NewClient returns a client that makes its connections when they are needed.
func NewClient(o Options) *Client { return newClient(o, systemClock()) }

func newClient(o Options, clk clock) *Client {
	if o.UserAgent == "" {
		o.UserAgent = "ferry"
	}
	switch {
	case o.Retries == 0:
		o.Retries = 6
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = time.Minute
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return &Client{
		opts: o, clock: clk, line: line{rate: o.LimitRate, clock: clk}, hosts: map[string]*host{}, gates: map[string]*gate{},
	}
}

// Close closes the connections that are idle now. The client can be used afterwards.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.plain.CloseIdleConnections()
	}
}

func (c *Client) event(e Event) {
	c.stats.count(e)
	if c.opts.Events != nil {
		c.opts.Events(e)
	}
}
