// Package distribution runs the CNCF distribution registry inside this process, on loopback.
//
// [Start] gives a registry that listens already; [Server.Close] ends it. It is the real registry, not an imitation, so
// what ferry does to it is what ferry does at a site. Around it stand counters ([Server.Counts]) that tell what moved,
// and how often.
package distribution

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
)

// Options say what kind of registry to run. The zero value is one in memory, open to everyone, over plain http on a
// free port of 127.0.0.1.
type Options struct {
	// Root is the folder that the registry keeps its content in, made if need be and left in place by Close. Empty
	// means in memory.
	Root string
	// Addr is the host and port to listen on; 127.0.0.1:0 when empty.
	Addr string
	// Users are names and passwords. None means that the registry is open to everyone.
	Users map[string]string
	// TokenLifetime, when not 0, makes Users authenticate to a token server, whose bearer tokens the registry takes
	// for this long and up to a second more, instead of by Basic with every request.
	TokenLifetime time.Duration
	// TLS makes the registry speak https with a certificate of a private CA, see [Server.CAFile].
	TLS bool
	// MutualTLS makes the registry refuse clients without a certificate of that CA, see [Server.CertDir]. It implies TLS.
	MutualTLS bool
	// AllowURLs are regular expressions for the URLs that layers may name (validation.manifests.urls.allow). With none,
	// as by default, the registry takes no manifest with foreign layers.
	AllowURLs []string
	// AnyIndex makes the registry take indexes whose manifests it does not have (validation.manifests.indexes.platforms:
	// none), as no registry does by default.
	AnyIndex bool
	// Wrap, when not nil, wraps the registry, to inject faults. What it answers itself is counted too.
	Wrap func(http.Handler) http.Handler
}

// Server is a registry that runs.
type Server struct {
	host     string
	dir      string // certificates, keys and password files
	tls      bool
	app      *handlers.App
	http     *http.Server
	counters *counters
	served   chan error

	mu          sync.Mutex
	connections int
	quiet       *sync.Cond // there are no connections
}

// silence keeps distribution's own log, which goes to one process-wide logger, out of the way.
var silence = sync.OnceFunc(func() { logrus.SetLevel(logrus.FatalLevel) })

// Start starts a registry. It listens when Start returns, and ends with Close, not with ctx.
func Start(ctx context.Context, opts Options) (*Server, error) {
	silence()
	dir, err := os.MkdirTemp("", "ferry-e2e-registry-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, tls: opts.TLS || opts.MutualTLS, counters: newCounters(), served: make(chan error, 1)}
	s.quiet = sync.NewCond(&s.mu)
	if err := s.start(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("start registry: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, opts Options) error {
	addr := opts.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	s.host = listener.Addr().String()
	if s.http, err = s.server(context.WithoutCancel(ctx), opts); err != nil {
		return errors.Join(err, listener.Close())
	}
	go func() {
		if s.tls {
			s.served <- s.http.ServeTLS(listener, "", "")
		} else {
			s.served <- s.http.Serve(listener)
		}
	}()
	return nil
}

// server builds the registry and what stands around it.
func (s *Server) server(ctx context.Context, opts Options) (*http.Server, error) {
	config, issuer, err := s.configure(opts)
	if err != nil {
		return nil, err
	}
	s.app = handlers.NewApp(ctx, config)
	var registry http.Handler = s.app
	if opts.Wrap != nil {
		registry = opts.Wrap(registry)
	}
	counted := http.NewServeMux()
	counted.Handle("/", registry)
	if issuer != nil {
		counted.Handle(tokenPath, issuer)
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.counters.wrap(counted))
	mux.HandleFunc("GET "+CountsPath, s.counters.serve)
	mux.HandleFunc("DELETE "+CountsPath, func(http.ResponseWriter, *http.Request) { s.Reset() })
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: time.Minute,
		ConnState:         s.countConnection,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that go away in the middle are part of the stories
	}
	if s.tls {
		if server.TLSConfig, err = s.configureTLS(opts.MutualTLS); err != nil {
			return nil, err
		}
	}
	return server, nil
}

// Host returns the host and port of the registry, as it stands in references.
func (s *Server) Host() string { return s.host }

// URL returns the base URL of the registry, without a slash at the end.
func (s *Server) URL() string {
	if s.tls {
		return "https://" + s.host
	}
	return "http://" + s.host
}

// Counts returns what the registry was asked for since it started or since Reset.
func (s *Server) Counts() Counts { return s.counters.snapshot() }

// Reset sets all counts to zero.
func (s *Server) Reset() { s.counters.reset() }

// Settle returns when all that clients which are gone by now have asked for is done and counted. With clients that keep
// connections open it waits for them.
func (s *Server) Settle(ctx context.Context) error {
	// Connections are accepted in their order. When this one has been, none from before is waiting.
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.host)
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, "HEAD / HTTP/1.0\r\n\r\n")
	_, answered := io.Copy(io.Discard, conn)
	if err := errors.Join(err, answered, conn.Close()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.connections > 0 {
		s.quiet.Wait()
	}
	return nil
}

func (s *Server) countConnection(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.connections++
	case http.StateClosed, http.StateHijacked:
		if s.connections--; s.connections == 0 {
			s.quiet.Broadcast()
		}
	}
}

// Close ends the registry, open connections included.
func (s *Server) Close() error {
	err := s.http.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, s.app.Shutdown(), os.RemoveAll(s.dir))
}
