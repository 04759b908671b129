package registrytest

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"sync"
	"testing"
)

// ProxyOptions are the habits of a proxy.
type ProxyOptions struct {
	// Routes has the address at which each host:port is in truth. The proxy reaches no other.
	Routes map[string]string
	// Username and Password are wanted unless they are empty.
	Username, Password string
	// Inspect, unless nil, issues a certificate for each host of its own, as a proxy does that reads what it forwards.
	Inspect *Authority
}

// Proxy is an HTTP proxy, which connects for https and forwards plain http.
type Proxy struct {
	o   ProxyOptions
	srv *httptest.Server

	mu     sync.Mutex
	served []string
}

// NewProxy starts a proxy that ends with the test.
func NewProxy(tb testing.TB, o ProxyOptions) *Proxy {
	tb.Helper()
	p := &Proxy{o: o}
	p.srv = httptest.NewServer(http.HandlerFunc(p.serve))
	tb.Cleanup(p.srv.Close)
	return p
}

// Host returns the proxy's host:port.
func (p *Proxy) Host() string { return hostOf(p.srv) }

// Served returns the hosts that the proxy was asked for, each once, in the order of the first requests.
func (p *Proxy) Served() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.served)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.o.Username+":"+p.o.Password))
	if p.o.Username != "" && r.Header.Get("Proxy-Authorization") != want {
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	p.mu.Lock()
	if !slices.Contains(p.served, r.Host) {
		p.served = append(p.served, r.Host)
	}
	p.mu.Unlock()
	addr := p.o.Routes[r.Host]
	switch {
	case addr == "":
		w.WriteHeader(http.StatusBadGateway)
	case r.Method == http.MethodConnect:
		p.connect(w, r.Host, addr)
	default:
		forward := httputil.ReverseProxy{Rewrite: func(out *httputil.ProxyRequest) { out.Out.URL.Host = addr }}
		forward.ServeHTTP(w, r)
	}
}

// connect joins the client's connection to one to addr.
func (p *Proxy) connect(w http.ResponseWriter, host, addr string) {
	there, err := net.Dial("tcp", addr)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	if p.o.Inspect != nil {
		name, _, _ := net.SplitHostPort(host)
		here = tls.Server(here, &tls.Config{Certificates: []tls.Certificate{p.o.Inspect.issuePair(name)}})
		there = tls.Client(there, &tls.Config{InsecureSkipVerify: true})
	}
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(there, here); there.Close() })
	io.Copy(here, there)
	here.Close()
	wg.Wait()
}
