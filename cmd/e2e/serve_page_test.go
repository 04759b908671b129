package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The page in a browser, with JavaScript and without: what is there, what a search finds, and that the browser is led to no
// other server. The bundle's name is what a browser must not take for what it looks like.
func TestServePage(t *testing.T) {
	t.Parallel()
	requireLong(t)
	requireTools(t, "chromium")
	const bundle = "<img src=q onerror=document.title=1>.tar.zst"
	w := newServedWorld(t)
	w.pack("k8s.tar.zst")
	if err := os.Rename(w.path("k8s.tar.zst"), w.path(bundle)); err != nil {
		t.Fatal(err)
	}
	s := w.serve(bundle)
	for _, test := range []struct {
		name    string
		scripts bool
	}{{"with JavaScript", true}, {"without JavaScript", false}} {
		t.Run(test.name, func(t *testing.T) {
			b := newBrowser(w.world, s, test.scripts)
			all := b.dom("/")
			for _, image := range w.images {
				for _, text := range []string{image.Repository, image.Root.Digest.String()} {
					if !strings.Contains(all, text) {
						t.Errorf("the page does not have %s", text)
					}
				}
			}
			for _, command := range []string{"docker pull ", "podman pull --tls-verify=false ", "ctr -n k8s.io images pull --plain-http ", "crane pull "} {
				if command += s.host + "/team/webapp:v1.2.3"; !strings.Contains(all, command) {
					t.Errorf("the page does not have %s", command)
				}
			}
			if strings.Contains(all, "<img") || strings.Contains(all, "<title>1") || !strings.Contains(all, "&lt;img src=q") {
				t.Error("the name of the bundle is more than text")
			}
			if shown := !strings.Contains(all, `<button type="button" hidden`); shown != test.scripts {
				t.Errorf("buttons to copy are shown: %v, want %v", shown, test.scripts)
			}
			found := b.dom("/?q=WEBAPP+arm64")
			if n := strings.Count(found, "<summary>"); n != 2 || !strings.Contains(found, "team/webapp-canary") {
				t.Errorf("the search finds %d images, want 2", n)
			}
			b.check()
		})
	}
}

// browser is Chromium behind a proxy that lets it reach one server, and that tells it, unless it is to run scripts, to run
// none. (With its own flag for that, Chromium prints no document.)
type browser struct {
	*world
	server *served
	proxy  *httptest.Server

	mu      sync.Mutex
	asked   []string // of the server
	refused []string // hosts that are not the server
	log     string   // what Chromium says of the pages
}

func newBrowser(w *world, s *served, scripts bool) *browser {
	b := &browser{world: w, server: s}
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, ModifyResponse: func(resp *http.Response) error {
		if !scripts {
			resp.Header.Add("Content-Security-Policy", "sandbox allow-forms")
		}
		return nil
	}}
	b.proxy = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect || r.URL.Host != s.host {
			b.note(&b.refused, r.Host)
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		b.note(&b.asked, r.URL.RequestURI())
		forward.ServeHTTP(rw, r)
	}))
	w.Cleanup(b.proxy.Close)
	return b
}

func (b *browser) note(list *[]string, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(*list, text)
}

// dom returns the document that a page has become.
func (b *browser) dom(path string) string {
	b.Helper()
	document, log := b.both("chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+b.path("chromium"),
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--disable-features=AutofillServerCommunication,OptimizationHints,NetworkTimeServiceQuerying",
		"--proxy-server="+b.proxy.URL, "--proxy-bypass-list=<-loopback>", "--enable-logging=stderr", "--dump-dom", b.server.url+path)
	b.log += log
	return document
}

// ofChromium are hosts that Chromium asks of its own accord, flags or not, whatever it shows.
var ofChromium = []string{"accounts.google.com:443", "update.googleapis.com", "update.googleapis.com:443", "clients2.google.com"}

// check ends the story unless the pages alone were asked for, and nothing in them was refused.
func (b *browser) check() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = slices.DeleteFunc(b.refused, func(host string) bool { return slices.Contains(ofChromium, host) })
	if len(b.refused) > 0 {
		b.Errorf("the browser wanted to reach %q", b.refused)
	}
	if want := []string{"/", "/?q=WEBAPP+arm64"}; !slices.Equal(b.asked, want) {
		b.Errorf("the browser asked for %q, want %q", b.asked, want)
	}
	for line := range strings.Lines(b.log) {
		if strings.Contains(line, "CONSOLE") && !strings.Contains(line, "Blocked script execution") {
			b.Errorf("the browser complains: %s", line)
		}
	}
}
