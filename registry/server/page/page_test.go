package page_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/server/page"
)

// image makes an image whose digest is that of its content.
func image(t *testing.T, ref, content string, platforms ...string) page.Image {
	t.Helper()
	r, err := oci.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	root := oci.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Digest: digest.FromString(content), Size: 100}
	return page.Image{Ref: r, Root: root, Platforms: platforms, Size: 1_234_567}
}

// get asks for a page as a client does that reached the server at http://HOST or https://HOST.
func get(t *testing.T, p http.Handler, url string) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: status %d", url, w.Code)
	}
	return w.Body.String()
}

var tags = regexp.MustCompile(`<[^>]*>`)

// shown returns what stands in the elements that begin with open, as text.
func shown(body, open, end string) []string {
	var found []string
	for {
		_, rest, ok := strings.Cut(body, open)
		if !ok {
			return found
		}
		text, after, _ := strings.Cut(rest, end)
		found = append(found, html.UnescapeString(tags.ReplaceAllString(text, "")))
		body = after
	}
}

// imageNames returns the images of a page.
func imageNames(body string) []string {
	var all []string
	for _, item := range strings.Split(body, "<summary>\n<span class=\"name\">")[1:] {
		line, _, _ := strings.Cut(item, "\n")
		all = append(all, html.UnescapeString(tags.ReplaceAllString(line, "")))
	}
	return all
}

func TestImages(t *testing.T) {
	p := page.New(page.Data{
		Shelves: []page.Shelf{{Name: "k8s.tar.zst", ContentID: "4f12", Size: 10_900_000, Missing: []string{"quay.io/gone:1: not found"}}},
		Images: []page.Image{
			image(t, "quay.io/calico/node:v3", "node", "linux/amd64", "linux/arm64"),
			image(t, "nginx@"+digest.FromString("pinned").String(), "pinned", "linux/amd64"),
			image(t, "registry.k8s.io/pause:3.9", "pause", "windows/amd64"),
		},
	})
	body := get(t, p, "http://127.0.0.1:5000/")
	want := []string{
		"docker.io/library/nginx@" + digest.FromString("pinned").String(), "quay.io/calico/node:v3", "registry.k8s.io/pause:3.9",
	}
	if got := imageNames(body); !slices.Equal(got, want) {
		t.Errorf("images: got %q, want %q", got, want)
	}
	for _, text := range []string{
		"<title>k8s.tar.zst - ferry</title>", "content id <code class=\"whole\">4f12</code>", "10.9 MB", "1.2 MB", "3 images",
		"<span>linux/arm64</span>", digest.FromString("node").String(), "<li>quay.io/gone:1: not found</li>", "1 image asked for and not here",
	} {
		if !strings.Contains(body, text) {
			t.Errorf("the page does not have %q", text)
		}
	}
}

func TestSearch(t *testing.T) {
	p := page.New(page.Data{
		Shelves: []page.Shelf{{Name: "jan.tar.zst"}, {Name: "feb.tar.zst"}},
		Images: []page.Image{
			image(t, "quay.io/calico/node:v3", "a", "linux/amd64", "linux/arm64"),
			image(t, "quay.io/calico/cni:v3", "b", "linux/amd64"),
			func() page.Image { img := image(t, "nginx:1.27", "c", "linux/s390x"); img.Shelf = 1; return img }(),
		},
	})
	for _, test := range []struct {
		name, query string
		want        []string
	}{
		{"nothing", "", []string{"docker.io/library/nginx:1.27", "quay.io/calico/cni:v3", "quay.io/calico/node:v3"}},
		{"blanks", "++", []string{"docker.io/library/nginx:1.27", "quay.io/calico/cni:v3", "quay.io/calico/node:v3"}},
		{"a part of a name", "calico", []string{"quay.io/calico/cni:v3", "quay.io/calico/node:v3"}},
		{"another case", "NGINX", []string{"docker.io/library/nginx:1.27"}},
		{"a tag", ":v3", []string{"quay.io/calico/cni:v3", "quay.io/calico/node:v3"}},
		{"two words in any order", "arm64+calico", []string{"quay.io/calico/node:v3"}},
		{"a word that is not there", "calico+mips", nil},
		{"a digest", digest.FromString("b").String(), []string{"quay.io/calico/cni:v3"}},
		{"a shelf", "feb.tar", []string{"docker.io/library/nginx:1.27"}},
		{"a word across two fields", "amd64linux", nil},
		{"no UTF-8", "%ff%fe", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := get(t, p, "/?q="+test.query)
			if got := imageNames(body); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if len(test.want) == 0 && !strings.Contains(body, "No image has that.") {
				t.Error("the page does not say that nothing was found")
			}
		})
	}
}

func TestCommands(t *testing.T) {
	node := image(t, "quay.io/calico/node:v3", "node")
	for _, test := range []struct {
		name, url string
		want      []string
	}{
		{"loopback", "http://127.0.0.1:5000/", []string{
			"docker pull 127.0.0.1:5000/calico/node:v3",
			"podman pull --tls-verify=false 127.0.0.1:5000/calico/node:v3",
			"ctr -n k8s.io images pull --plain-http 127.0.0.1:5000/calico/node:v3",
			"crane pull 127.0.0.1:5000/calico/node:v3 node-v3.tar",
			"skopeo copy --all --src-tls-verify=false docker://127.0.0.1:5000/calico/node:v3 oci:node-v3",
		}},
		{"plain", "http://bastion:5000/", []string{
			"docker pull bastion:5000/calico/node:v3",
			"podman pull --tls-verify=false bastion:5000/calico/node:v3",
			"ctr -n k8s.io images pull --plain-http bastion:5000/calico/node:v3",
			"crane pull --insecure bastion:5000/calico/node:v3 node-v3.tar",
			"skopeo copy --all --src-tls-verify=false docker://bastion:5000/calico/node:v3 oci:node-v3",
		}},
		{"TLS", "https://[::1]:5000/", []string{
			"docker pull '[::1]:5000/calico/node:v3'",
			"podman pull '[::1]:5000/calico/node:v3'",
			"ctr -n k8s.io images pull '[::1]:5000/calico/node:v3'",
			"crane pull '[::1]:5000/calico/node:v3' node-v3.tar",
			"skopeo copy --all 'docker://[::1]:5000/calico/node:v3' oci:node-v3",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := get(t, page.New(page.Data{Images: []page.Image{node}}), test.url)
			if got := shown(body, `<dd class="command"><code class="whole">`, "</code>"); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// The host of a request is the client's word, and stands in what people copy into a shell.
func TestHostOfRequest(t *testing.T) {
	p := page.New(page.Data{Images: []page.Image{image(t, "nginx:1.27", "a")}, Login: true})
	for _, host := range []string{"a$(id):5000", "a;id", "<script>", "", strings.Repeat("a", 1000)} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		body := w.Body.String()
		if host != "" && strings.Contains(body, host+"/") {
			t.Errorf("host %.40q stands in the page", host)
		}
		if !strings.Contains(body, "docker pull HOST/library/nginx:1.27") || !strings.Contains(body, "docker login HOST,") {
			t.Errorf("host %.40q: no commands for HOST", host)
		}
	}
}

// An image that is in two places is one image.
func TestImageOfTwoShelves(t *testing.T) {
	second, other := image(t, "nginx:1", "a"), image(t, "nginx:1", "b")
	second.Shelf, other.Shelf = 1, 1
	body := get(t, page.New(page.Data{
		Shelves: []page.Shelf{{Name: "jan.tar"}, {Name: "feb.tar", Notes: []string{"damaged: tail"}}},
		Images:  []page.Image{image(t, "nginx:1", "a"), second, other},
	}), "/")
	if got, want := imageNames(body), []string{"docker.io/library/nginx:1", "docker.io/library/nginx:1"}; !slices.Equal(got, want) {
		t.Errorf("images: got %q, want %q", got, want)
	}
	for _, text := range []string{"<dd>jan.tar, feb.tar</dd>", "<dd>feb.tar</dd>", "images of 2 places", "<p class=\"note\">damaged: tail</p>"} {
		if strings.Count(body, text) != 1 {
			t.Errorf("the page does not have %s once", text)
		}
	}
}

// Images are pulled by the shortest name that means them alone.
func TestNamesOfTwoImages(t *testing.T) {
	p := page.New(page.Data{Images: []page.Image{
		image(t, "quay.io/app:1", "a"), image(t, "ghcr.io/app:1", "b"), image(t, "localhost:5000/app:1", "c"),
		image(t, "quay.io/app:2", "a"), image(t, "ghcr.io/app:2", "a"), // the same image
		image(t, "quay.io/app:3", "a"), image(t, "quay.io/app:3", "b"), // of two shelves
	}})
	body := get(t, p, "https://h/")
	want := []string{
		"docker pull h/ghcr.io/app:1", "docker pull h/app:2", "docker pull h/localhost_5000/app:1", "docker pull h/quay.io/app:1",
		"docker pull h/app:2", "docker pull h/app@" + digest.FromString("a").String(), "docker pull h/app@" + digest.FromString("b").String(),
	}
	got := slices.DeleteFunc(shown(body, `<code class="whole">`, "</code>"), func(s string) bool { return !strings.HasPrefix(s, "docker ") })
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What a bundle says is never more than text.
func TestHostileData(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>` + "\u202e\x00\x1b[31m" + `javascript:alert(1)`
	hostile := page.Image{
		Ref:       oci.Reference{Repository: oci.Repository{Host: evil, Path: evil}, Tag: "1; rm -rf ~"},
		Root:      oci.Descriptor{MediaType: evil, Digest: digest.Digest(evil)},
		Platforms: slices.Repeat([]string{evil}, 1000),
		Size:      -1,
	}
	lines := slices.Repeat([]string{evil}, 1000)
	p := page.New(page.Data{
		Shelves: []page.Shelf{{Name: evil, ContentID: evil, Size: -1, Notes: lines, Missing: lines}, {Name: evil}},
		Images:  []page.Image{hostile, {Shelf: 7}, {Shelf: -1}},
		Damage:  func() []page.Damage { return slices.Repeat([]page.Damage{{Text: evil, Images: lines}}, 1000) },
	})
	plain := get(t, page.New(page.Data{Shelves: []page.Shelf{{Name: "a"}, {Name: "b"}}}), "/")
	for _, url := range []string{"/", "/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&page=%3Cscript%3E"} {
		body := get(t, p, url)
		for _, element := range []string{"<script", "<style", "<img", "<form", "<link"} {
			if got, want := strings.Count(body, element), strings.Count(plain, element); got != want {
				t.Errorf("%s: %d times %s, want %d", url, got, element, want)
			}
		}
		if strings.Contains(body, "<img") || strings.Contains(body, `href="javascript`) || strings.ContainsAny(body, "\u202e\x00\x1b") {
			t.Errorf("%s: the page has what the bundle says as it is", url)
		}
		if strings.Contains(body, "docker pull") {
			t.Errorf("%s: there is a command for a name that is none", url)
		}
		if len(body) > 500_000 {
			t.Errorf("%s: the page has %d bytes", url, len(body))
		}
	}
}

func TestManyImages(t *testing.T) {
	const n = 5000
	var d page.Data
	for i := range n {
		d.Images = append(d.Images, image(t, fmt.Sprintf("registry.example/team/app-%04d:v1", i), fmt.Sprint(i), "linux/amd64", "linux/arm64"))
	}
	p := page.New(d)
	seen := map[string]bool{}
	url := "http://h/?q=app-0" // a fifth of them
	next := regexp.MustCompile(`<a rel="next" href="([^"]*)">`)
	for pages := 0; ; pages++ {
		body := get(t, p, url)
		if len(body) > 250_000 {
			t.Fatalf("%s has %d bytes", url, len(body))
		}
		for _, name := range imageNames(body) {
			seen[name] = true
		}
		link := next.FindStringSubmatch(body)
		if link == nil || pages > n {
			break
		}
		url = html.UnescapeString(link[1])
	}
	if len(seen) != n/5 {
		t.Errorf("the pages have %d images, want %d", len(seen), n/5)
	}
	for _, test := range []struct{ query, want string }{
		{"page=0", "page 1 of 50"},
		{"page=51", "page 50 of 50"},
		{"page=99999999999999999999", "page 50 of 50"},
		{"page=-3", "page 1 of 50"},
		{"page=x", "page 1 of 50"},
		{"q=app-0001", "1 of 5000 images"},
		{"q=" + strings.Repeat("%C3%A9", 5000), "0 of 5000 images"},
	} {
		if body := get(t, p, "/?"+test.query); !strings.Contains(body, test.want) || len(body) > 250_000 {
			t.Errorf("?%.40s: not %q", test.query, test.want)
		}
	}
}

func TestDamage(t *testing.T) {
	var damage []page.Damage
	p := page.New(page.Data{
		Images: []page.Image{image(t, "nginx:1", "a"), image(t, "redis:7", "b")},
		Damage: func() []page.Damage { return damage },
	})
	if body := get(t, p, "/"); strings.Contains(body, "amaged<") {
		t.Error("an undamaged bundle is called damaged")
	}
	damage = []page.Damage{{Text: "blob sha256:12: got sha256:34, at 512 of k8s.tar.zst", Images: []string{"docker.io/library/redis:7"}}}
	body := get(t, p, "/")
	if !strings.Contains(body, "<li>blob sha256:12: got sha256:34, at 512 of k8s.tar.zst</li>") {
		t.Error("the damage is not told")
	}
	for _, item := range strings.Split(body, "<summary>\n")[1:] {
		if got, want := strings.Contains(item, ">damaged<"), strings.Contains(item, "redis"); got != want {
			t.Errorf("damaged: %v, want %v:\n%s", got, want, item)
		}
	}
}

// The policy allows the document's own style and script by their very bytes, and nothing else.
func TestPolicy(t *testing.T) {
	p := page.New(page.Data{Images: []page.Image{image(t, "nginx:1", "a")}})
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	body, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	for _, element := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(body, "<"+element+">")
		text, _, _ := strings.Cut(rest, "</"+element+">")
		sum := sha256.Sum256([]byte(text))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("policy %q does not have %q", policy, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if outside := regexp.MustCompile(`(?i)(?:src|href|action)="(?:[a-z]+:)?//|url\(|@import`).FindString(body); outside != "" {
		t.Errorf("the page has an outside resource: %q", outside)
	}
}

func TestMethods(t *testing.T) {
	p := page.New(page.Data{Images: []page.Image{image(t, "nginx:1", "a")}})
	whole := get(t, p, "/")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/", nil))
	if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") != fmt.Sprint(len(whole)) {
		t.Errorf("HEAD: status %d, body of %d bytes, Content-Length %s", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
	}
	w = httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}
