package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// mirroredWorld is a registry that its clients call docker.io, and mirrors before it.
type mirroredWorld struct {
	origin  *registrytest.Server
	mirrors []*registrytest.Server
	events  []Event
}

// client returns a client that reads docker.io by way of mirrors, of which change may alter the options. The origin is
// asked as user `hub`, a mirror as testUser.
func (w *mirroredWorld) client(t *testing.T, change func(*HostOptions)) *Client {
	t.Helper()
	user := func(name string) func(context.Context, oci.Repository) (Credential, error) {
		return func(context.Context, oci.Repository) (Credential, error) {
			return Credential{Username: name, Password: testPassword}, nil
		}
	}
	o := HostOptions{Scheme: SchemeHTTP, Credential: user("hub")}
	for _, m := range w.mirrors {
		o.Mirrors = append(o.Mirrors, Mirror{
			Host: m.Host(), Path: "hub", Options: HostOptions{Scheme: SchemeHTTP, Credential: user(testUser)},
		})
	}
	if change != nil {
		change(&o)
	}
	c, _ := newTestClient(t, w.origin, Options{
		Host: func(string) HostOptions { return o }, Events: func(e Event) { w.events = append(w.events, e) },
	})
	dialOnly(t, c, "docker.io", listener(w.origin.Host()))
	return c
}

// listener is the address of a server.
type listener string

func (l listener) Network() string { return "tcp" }
func (l listener) String() string  { return string(l) }

func newMirroredWorld(t *testing.T, mirrors ...registrytest.Options) *mirroredWorld {
	t.Helper()
	w := &mirroredWorld{origin: registrytest.New(t, registrytest.Options{
		Auth: registrytest.Basic, Username: "hub", Password: testPassword, Location: registrytest.Relative,
	})}
	for _, o := range mirrors {
		w.mirrors = append(w.mirrors, registrytest.New(t, o))
	}
	return w
}

var nginx = oci.Repository{Host: "docker.io", Path: "library/nginx"}

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

func TestMirrorIsAskedFirst(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword})
	c := w.client(t, nil)
	d := w.mirrors[0].AddManifest("hub/library/nginx", ocispec.MediaTypeImageIndex, []byte(emptyIndex))
	w.mirrors[0].Tag("hub/library/nginx", "1.27", d.Digest)
	raw, layer := content(5000)
	w.mirrors[0].AddBlob("hub/library/nginx", raw)

	got, err := c.Resolve(t.Context(), oci.Reference{Repository: nginx, Tag: "1.27"})
	if err != nil || got.Digest != d.Digest {
		t.Fatalf("resolved to %s, %v", got.Digest, err)
	}
	if got, err := readAll(c, nginx, d); err != nil || string(got) != emptyIndex {
		t.Errorf("manifest %q, %v", got, err)
	}
	if got, err := readAll(c, nginx, layer); err != nil || !slices.Equal(got, raw) {
		t.Errorf("blob of %d bytes, %v", len(got), err)
	}
	if n := len(w.origin.Requests()); n > 0 {
		t.Errorf("the registry itself got %d requests", n)
	}
	for _, r := range w.mirrors[0].Requests() {
		if r.Kind != registrytest.Token && r.Repo != "hub/library/nginx" {
			t.Errorf("the mirror was asked for %s", r.Repo)
		}
	}
}

// What a mirror does not give comes from the next one, and from the registry at last.
func TestMirrorIsPassedOver(t *testing.T) {
	raw, layer := content(5000)
	for _, tc := range []struct {
		name string
		one  registrytest.Options
		do   func(one *registrytest.Server)
		off  bool // it is not asked a second time
	}{
		{"it lacks the blob", registrytest.Options{}, func(*registrytest.Server) {}, false},
		{
			"it refuses us",
			registrytest.Options{Auth: registrytest.Bearer, Username: "x", Password: "y"},
			func(*registrytest.Server) {}, false,
		},
		{"it is not there", registrytest.Options{}, func(one *registrytest.Server) { one.Close() }, true},
		{"it speaks TLS", registrytest.Options{TLS: true}, func(*registrytest.Server) {}, false},
		{"it is out of order", registrytest.Options{}, func(one *registrytest.Server) {
			one.Fault(registrytest.Match{}, registrytest.Code(502, "", "bad gateway"))
		}, false},
		{"its blob has another size", registrytest.Options{}, func(one *registrytest.Server) {
			one.AddBlob("hub/library/nginx", raw)
			one.Fault(registrytest.Match{Method: "GET"}, registrytest.Resize(-1))
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newMirroredWorld(t, tc.one, registrytest.Options{})
			tc.do(w.mirrors[0])
			c := w.client(t, nil)
			w.origin.AddBlob("library/nginx", raw)
			if got, err := readAll(c, nginx, layer); err != nil || !slices.Equal(got, raw) {
				t.Fatalf("from the registry: %d bytes, %v", len(got), err)
			}
			w.mirrors[1].AddBlob("hub/library/nginx", raw)
			w.origin.ResetCounts()
			if got, err := readAll(c, nginx, layer); err != nil || !slices.Equal(got, raw) {
				t.Fatalf("from the second mirror: %d bytes, %v", len(got), err)
			}
			if n := len(w.origin.Requests()); n > 0 {
				t.Errorf("the registry itself got %d requests", n)
			}
			passed, off := 0, 0
			for _, e := range w.events {
				switch {
				case e.Kind == EventMirrorPassed && e.Host == w.mirrors[0].Host():
					passed++
				case e.Kind == EventMirrorOff && e.Host == w.mirrors[0].Host():
					off++
				}
			}
			if tc.off && (off != 1 || passed > 0) || !tc.off && (off != 0 || passed != 2) {
				t.Errorf("%d times passed over and %d times given up", passed, off)
			}
		})
	}
}

// A mirror that answers at first and then breaks off costs some waiting, and not one for each blob.
func TestMirrorThatBreaksOff(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{})
	c := w.client(t, nil)
	raw, d := content(5000)
	w.origin.AddBlob("library/nginx", raw)
	w.mirrors[0].AddBlob("hub/library/nginx", raw)
	if _, err := readAll(c, nginx, d); err != nil {
		t.Fatal(err)
	}
	w.mirrors[0].ResetCounts()
	w.mirrors[0].Fault(registrytest.Match{}, registrytest.Drop(false))
	for range mirrorBreaks + 2 {
		if got, err := readAll(c, nginx, d); err != nil || !slices.Equal(got, raw) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if n := len(w.mirrors[0].Requests()); n > mirrorBreaks*(1+retriesMirror)*2 { // net/http repeats some by itself
		t.Errorf("the mirror was asked %d times", n)
	}
	if last := w.events[len(w.events)-1]; last.Kind != EventMirrorOff {
		t.Errorf("the last event is %v", last)
	}
}

func TestMirrorThatLies(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{})
	c := w.client(t, nil)
	d := w.origin.AddManifest("library/nginx", ocispec.MediaTypeImageIndex, []byte(emptyIndex))
	w.mirrors[0].AddManifest("hub/library/nginx", ocispec.MediaTypeImageIndex, []byte(emptyIndex))
	w.mirrors[0].Fault(registrytest.Match{Method: "GET"}, registrytest.Corrupt())
	if got, err := readAll(c, nginx, d); err != nil || string(got) != emptyIndex {
		t.Errorf("manifest: %q, %v", got, err)
	}

	w = newMirroredWorld(t, registrytest.Options{})
	c = w.client(t, nil)
	raw, layer := content(5000)
	w.origin.AddBlob("library/nginx", raw)
	w.mirrors[0].AddBlob("hub/library/nginx", raw)
	w.mirrors[0].Fault(registrytest.Match{Method: "GET"}, registrytest.Corrupt())
	_, err := readAll(c, nginx, layer)
	checkErr(t, err, oci.ErrCorrupt)
	if n := len(w.events); n != 1 || w.events[0].Kind != EventMirrorOff || w.events[0].Host != w.mirrors[0].Host() {
		t.Errorf("events %+v", w.events)
	}
	if got, err := readAll(c, nginx, layer); err != nil || !slices.Equal(got, raw) {
		t.Errorf("the second time: %d bytes, %v", len(got), err)
	}
}

func TestMirrorErrorsNameAllPlaces(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{})
	c := w.client(t, nil)
	_, layer := content(5000)
	_, err := c.Open(t.Context(), nginx, layer, 0)
	checkErr(t, err, oci.ErrNotFound, "registry-1.docker.io", w.mirrors[0].Host())

	w.mirrors[0].Close()
	c = w.client(t, func(o *HostOptions) { o.MirrorsOnly = true })
	_, err = c.Open(t.Context(), nginx, layer, 0)
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || unreachable.Host != w.mirrors[0].Host() {
		t.Errorf("got %v", err)
	}
	_, err = c.Open(t.Context(), nginx, layer, 0)
	if err == nil || !strings.Contains(err.Error(), "no mirror is left") {
		t.Errorf("the second time: %v", err)
	}
	if n := len(w.origin.Requests()); n != 2 { // one with no credential, one with
		t.Errorf("the registry itself got %d requests", n)
	}
}

func TestMirrorIsForReadingAlone(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{})
	c := w.client(t, nil)
	raw, layer := content(5000)
	o := &opener{raw: raw}
	if err := c.Push(t.Context(), nginx, layer, o.Open); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Has(t.Context(), nginx, layer); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Tagged(t.Context(), nginx, "v1"); !errors.Is(err, oci.ErrNotFound) {
		t.Fatal(err)
	}
	if n := len(w.mirrors[0].Requests()); n > 0 {
		t.Errorf("the mirror got %d requests", n)
	}
}

func TestMirrorCapabilities(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{}, registrytest.Options{}, registrytest.Options{})
	c := w.client(t, func(o *HostOptions) {
		o.Mirrors[0].NoResolve = true
		o.Mirrors[1].NoPull = true
		o.Mirrors[2].Prefix = "bitnami"
		o.Mirrors[0].Header = http.Header{"X-Key": {testPassword}}
	})
	raw, layer := content(5000)
	d := w.origin.AddManifest("library/nginx", ocispec.MediaTypeImageIndex, []byte(emptyIndex))
	w.origin.AddBlob("library/nginx", raw)
	w.origin.Tag("library/nginx", "1", d.Digest)
	if _, err := c.Resolve(t.Context(), oci.Reference{Repository: nginx, Tag: "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(c, nginx, layer); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"GET blob", "HEAD manifest", ""} {
		var got []string
		for _, r := range w.mirrors[i].Requests() {
			got = append(got, r.Method+" "+string(r.Kind))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("mirror %d got %q, want %q", i, got, want)
		}
	}
}

func TestMirrorResumesElsewhere(t *testing.T) {
	w := newMirroredWorld(t, registrytest.Options{})
	c := w.client(t, nil)
	raw, layer := content(100_000)
	w.mirrors[0].AddBlob("hub/library/nginx", raw)
	w.origin.AddBlob("library/nginx", raw)
	w.mirrors[0].Fault(registrytest.Match{Method: "GET", Times: 1}, registrytest.Cut(40_000))
	r, err := c.Open(t.Context(), nginx, layer, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	w.mirrors[0].Remove("hub/library/nginx", layer.Digest)
	rest, err := io.ReadAll(r)
	if err != nil || !slices.Equal(append(head, rest...), raw) {
		t.Errorf("%d bytes, %v", 1000+len(rest), err)
	}
	if n := w.origin.BytesSent(layer.Digest); n > 60_000 {
		t.Errorf("the registry itself sent %d bytes", n)
	}
}

func TestReadMirrors(t *testing.T) {
	ca := string(registrytest.NewAuthority(t, "CA").CAPEM())
	dir := writeFiles(t, map[string]string{
		"docker.io/hosts.toml": `
server = "https://registry-1.docker.io"
ca = "hub.pem"
[host."http://b.local:5000"]
  capabilities = ["pull", "resolve"]
[host."https://a.local/artifactory/hub"]
  capabilities = ["pull"]
  skip_verify = true
  ca = "a.pem"
  [host."https://a.local/artifactory/hub".header]
    x-key = "hunter2"
[host."https://harbor.local/v2/proxy-hub"]
  override_path = true
[host."https://registry-1.docker.io"]
`, "docker.io/hub.pem": ca, "docker.io/a.pem": ca,
		"quay.io/hosts.toml":      `server = "http://only.local:5000/v2/quay"` + "\noverride_path = true",
		"_default/hosts.toml":     `[host."http://all.local"]`,
		"bad.io/hosts.toml":       "[host.'https://a.io']\nheader = 'hunter2\n",
		"typed.io/hosts.toml":     "[host.'https://a.io']\nskip_verify = 'hunter2'\n",
		"url.io/hosts.toml":       "[host.'https://ann:hunter2@a.io']\n",
		"h.local_5000_/x":         "",
		"h.local:5000/hosts.toml": "",
	})
	m, err := ReadMirrors(dir, "docker.io")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range m.Mirrors {
		got = append(got, strings.Join([]string{string(x.Options.Scheme), x.Host, x.Root, x.Path}, " "))
	}
	want := []string{"http b.local:5000 /v2/ ", "https a.local /artifactory/hub/v2/ ", "https harbor.local /v2/ proxy-hub"}
	if !slices.Equal(got, want) || m.Only || len(m.TLS.CAs) != 1 {
		t.Errorf("got %q, only %v, %d authorities", got, m.Only, len(m.TLS.CAs))
	}
	a := m.Mirrors[1]
	if !a.NoResolve || a.NoPull || !a.Options.InsecureSkipVerify || len(a.Options.CAs) != 1 || a.Header.Get("X-Key") != "hunter2" {
		t.Errorf("second mirror: %+v", a)
	}

	if m, err := ReadMirrors(dir, "quay.io"); err != nil || !m.Only || len(m.Mirrors) != 1 || m.Mirrors[0].Path != "quay" {
		t.Errorf("with a server alone: %+v, %v", m, err)
	}
	if m, err := ReadMirrors(dir, "ghcr.io"); err != nil || m.Only || len(m.Mirrors) != 1 || m.Mirrors[0].Host != "all.local" {
		t.Errorf("by default: %+v, %v", m, err)
	}
	if m, err := ReadMirrors(dir, "h.local:5000"); err != nil || m.Only || len(m.Mirrors) != 0 {
		t.Errorf("an empty file: %+v, %v", m, err)
	}
	for _, host := range []string{"bad.io", "typed.io", "url.io"} {
		_, err := ReadMirrors(dir, host)
		if err == nil || !strings.Contains(err.Error(), host) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestParseMirror(t *testing.T) {
	for s, want := range map[string]string{
		"docker.io=mirror.local:5000/hub":  "docker.io  -> :mirror.local:5000 hub",
		"index.docker.io=http://m/v2/hub/": "docker.io  -> http:m hub",
		"docker.io/library=https://m/x/y":  "docker.io library -> https:m x/y",
		"quay.io=m":                        "quay.io  -> :m ",
		"quay.io":                          "",
		"=m":                               "",
		"quay.io=":                         "",
		"quay.io=ftp://m":                  "",
		"quay.io=https://ann:hunter2@m/x":  "",
		"quay.io=m/x?y":                    "",
	} {
		host, m, err := ParseMirror(s)
		got := ""
		if err == nil {
			got = host + " " + m.Prefix + " -> " + string(m.Options.Scheme) + ":" + m.Host + " " + m.Path
		}
		if got != want || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %q, %v; want %q", s, got, err, want)
		}
	}
}
