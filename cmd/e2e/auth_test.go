package e2e

import (
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

var users = map[string]string{"ann": "secret"}

func TestHtpasswd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{Users: users}, distribution.Options{Users: users})
	w.expect(4, w.ferry("pack", "-f", "images.list", "-o", "k8s.tar.zst"), "401 Unauthorized", "--src-creds")

	w.login("ann", "secret", w.source.Host())
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	w.login("ann", "secret", w.target.Host())
	w.ok("unpack", "k8s.tar.zst", w.to())
	w.arrived()
}

func TestCredentialsFlag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{Users: users}, distribution.Options{Users: users})
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst", "--src-creds", "ann:secret")
	w.ok("unpack", "k8s.tar.zst", w.to(), "--dest-creds", "ann:secret")
	w.arrived()
}

// expiry holds the first request of one kind until its token has expired, so that the registry answers 401 in the
// middle of the work.
type expiry struct {
	lifetime time.Duration
	matches  func(*http.Request) bool
	held     atomic.Bool
	refused  atomic.Int32 // requests held and then answered with 401
}

func (e *expiry) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" || !e.matches(r) || e.held.Swap(true) {
			next.ServeHTTP(w, r)
			return
		}
		time.Sleep(e.lifetime + 1100*time.Millisecond) // tokens last up to a second more
		status := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(status, r)
		if status.code == http.StatusUnauthorized {
			e.refused.Add(1)
		}
	})
}

type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

func TestTokenExpiresInTheMiddle(t *testing.T) {
	t.Parallel()
	const lifetime = 2 * time.Second
	fetch := &expiry{lifetime: lifetime, matches: func(r *http.Request) bool {
		return r.Method == http.MethodGet && distribution.KindOf(r) == "blob"
	}}
	upload := &expiry{lifetime: lifetime, matches: func(r *http.Request) bool {
		return r.Method == http.MethodPut && distribution.KindOf(r) == "upload"
	}}
	w := newWorld(t,
		distribution.Options{Users: users, TokenLifetime: lifetime, Wrap: fetch.wrap},
		distribution.Options{Users: users, TokenLifetime: lifetime, Wrap: upload.wrap})
	w.login("ann", "secret", w.source.Host(), w.target.Host())
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	w.ok("unpack", "k8s.tar.zst", w.to())
	w.arrived()
	if fetch.refused.Load() != 1 || upload.refused.Load() != 1 {
		t.Errorf("%d fetches and %d uploads met an expired token, want one of each",
			fetch.refused.Load(), upload.refused.Load())
	}
}

// stall lets some bytes of the bodies of one kind of request pass, holds the rest until the token has expired, and cuts
// the connections that wait, so that what goes on inside a blob does so with a token that is good no more.
type stall struct {
	method, kind string // as distribution.KindOf tells
	trip         *tripwire
	cut          atomic.Bool
	refused      atomic.Int32 // requests that were answered with 401 since the cut
}

func newStall(n int64, lifetime time.Duration, method, kind string) *stall {
	s := &stall{method: method, kind: kind, trip: newTripwire()}
	tripped := s.trip.arm(n)
	go func() {
		<-tripped
		time.Sleep(lifetime + 1100*time.Millisecond) // tokens last up to a second more
		s.cut.Store(true)
		s.trip.release()
	}()
	return s
}

func (s *stall) wrap(next http.Handler) http.Handler {
	guarded := s.trip.wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == s.method && distribution.KindOf(r) == s.kind && !s.cut.Load() {
			guarded.ServeHTTP(w, r)
			return
		}
		status := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(status, r)
		if s.cut.Load() && status.code == http.StatusUnauthorized {
			s.refused.Add(1)
		}
	})
}

// A blob whose connection is cut, and whose token has expired by then, goes on where it was.
func TestTokenExpiresInsideABlob(t *testing.T) {
	t.Parallel()
	s, err := largeStock()
	if err != nil {
		t.Fatal(err)
	}
	const lifetime = 2 * time.Second
	fetch := newStall(largeSize/2, lifetime, http.MethodGet, "blob")
	upload := newStall(largeSize/2, lifetime, http.MethodPut, "upload")
	w := newWorldOf(t, s,
		distribution.Options{Users: users, TokenLifetime: lifetime, Wrap: fetch.wrap},
		distribution.Options{Users: users, TokenLifetime: lifetime, Wrap: upload.wrap})
	w.login("ann", "secret", w.source.Host(), w.target.Host())
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	w.ok("unpack", "k8s.tar.zst", w.to())
	w.arrived()
	w.movedOnce(nil, w.source.Counts().Fetched)
	w.movedOnce(nil, w.target.Counts().Received)
	if fetch.refused.Load() == 0 || upload.refused.Load() == 0 {
		t.Errorf("after the cut %d requests at the source and %d at the target met an expired token, want some",
			fetch.refused.Load(), upload.refused.Load())
	}
}

func TestPrivateCA(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{TLS: true}, distribution.Options{TLS: true})
	w.expect(4, w.ferry("pack", "-f", "images.list", "-o", "k8s.tar.zst", "--src-tls-verify"), distribution.CAName, "--src-ca")
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst", "--src-ca", w.source.CAFile())
	w.expect(1, w.ferry("unpack", "k8s.tar.zst", w.to(), "--dest-tls-verify"), distribution.CAName, "--dest-ca")
	w.ok("unpack", "k8s.tar.zst", w.to(), "--dest-ca", w.target.CAFile())
	w.arrived()
}

func TestUncheckedCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{TLS: true}, distribution.Options{TLS: true})
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst", "--src-tls-verify=false")
	w.ok("unpack", "k8s.tar.zst", w.to(), "--dest-tls-verify=false")
	w.arrived()
}

// Registries that ask for client certificates, laid out for one host as Docker does it, or for each host in a folder.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{MutualTLS: true}, distribution.Options{MutualTLS: true})
	w.expect(4, w.ferry("pack", "-f", "images.list", "-o", "k8s.tar.zst", "--src-ca", w.source.CAFile()),
		"client certificate", "--src-cert-dir")
	if err := os.CopyFS(w.path("certs.d/"+w.source.Host()), os.DirFS(w.source.CertDir())); err != nil {
		t.Fatal(err)
	}
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst", "--src-cert-dir", "certs.d")
	w.expect(1, w.ferry("unpack", "k8s.tar.zst", w.to(), "--dest-ca", w.target.CAFile()), "client certificate", "--dest-cert-dir")
	w.ok("unpack", "k8s.tar.zst", w.to(), "--dest-cert-dir", w.target.CertDir())
	w.arrived()
}
