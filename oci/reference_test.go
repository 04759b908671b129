package oci

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	hex256    = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	digest256 = "sha256:" + hex256
	digest512 = "sha512:" + hex256 + hex256
)

func TestParseReference(t *testing.T) {
	long := strings.Repeat("a", 255-len("docker.io/x/"))
	for _, c := range []struct{ name, in, want, imageName string }{
		{name: "one word", in: "nginx", want: "docker.io/library/nginx:latest"},
		{name: "tag", in: "nginx:1.27", want: "docker.io/library/nginx:1.27"},
		{name: "namespace", in: "calico/node:v3", want: "docker.io/calico/node:v3"},
		{name: "Docker Hub in full", in: "docker.io/library/nginx:1", want: "docker.io/library/nginx:1"},
		{name: "Docker Hub without library", in: "docker.io/nginx", want: "docker.io/library/nginx:latest"},
		{name: "index of Docker Hub", in: "index.docker.io/nginx", want: "docker.io/library/nginx:latest"},
		{name: "registry of Docker Hub", in: "registry-1.docker.io/a/b:1", want: "docker.io/a/b:1"},
		{name: "other host, one segment", in: "registry.k8s.io/pause:3.10", want: "registry.k8s.io/pause:3.10"},
		{name: "port", in: "harbor:5000/a/b/c/d:1", want: "harbor:5000/a/b/c/d:1"},
		{name: "port, no tag", in: "harbor:5000/a", want: "harbor:5000/a:latest"},
		{name: "localhost", in: "localhost/a", want: "localhost/a:latest"},
		{name: "no host without dot", in: "harbor/a", want: "docker.io/harbor/a:latest"},
		{name: "upper case host", in: "HARBOR/a", want: "HARBOR/a:latest"},
		{name: "IPv4", in: "10.0.0.1:5000/a", want: "10.0.0.1:5000/a:latest"},
		{name: "IPv6", in: "[2001:db8::1]/a:1", want: "[2001:db8::1]/a:1"},
		{name: "IPv6 and port", in: "[::1]:5000/a/b", want: "[::1]:5000/a/b:latest"},
		{name: "word that looks like host and port", in: "localhost:5000", want: "docker.io/library/localhost:5000"},
		{name: "digest", in: "nginx@" + digest256, want: "docker.io/library/nginx@" + digest256},
		{name: "sha512", in: "quay.io/a/b@" + digest512, want: "quay.io/a/b@" + digest512},
		{
			name: "tag and digest", in: "quay.io/a/b:v1@" + digest256,
			want: "quay.io/a/b:v1@" + digest256, imageName: "quay.io/a/b:v1",
		},
		{name: "separators", in: "a.b/c_d/e__f/g---h:1", want: "a.b/c_d/e__f/g---h:1"},
		{name: "tag with everything", in: "a/b:_A.b-c_9", want: "docker.io/a/b:_A.b-c_9"},
		{name: "longest tag", in: "a/b:" + strings.Repeat("t", 128), want: "docker.io/a/b:" + strings.Repeat("t", 128)},
		{name: "longest name", in: "x/" + long + ":1", want: "docker.io/x/" + long + ":1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseReference(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want {
				t.Errorf("ParseReference(%q) = %s, want %s", c.in, got, c.want)
			}
			if c.imageName == "" {
				c.imageName = c.want
			}
			if got.Name() != c.imageName {
				t.Errorf("Name() = %s, want %s", got.Name(), c.imageName)
			}
		})
	}
}

func TestParseReferenceParts(t *testing.T) {
	got, err := ParseReference("harbor.example:8443/k8s/pause:3.10@" + digest256)
	want := Reference{
		Repository: Repository{Host: "harbor.example:8443", Path: "k8s/pause"},
		Tag:        "3.10", Digest: digest.Digest(digest256),
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "empty"},
		{"space", "nginx latest", "white space"},
		{"space before", " nginx", "white space"},
		{"new line", "nginx\n", "white space"},
		{"URL", "https://quay.io/a/b", `leave out "https://"`},
		{"user and password", "ada:se@cret/x@quay.io/a@" + digest256, "a user and a password do not belong"},
		{"user and password in a URL", "https://ada:secret@quay.io/a", "a user and a password do not belong"},
		{"docker transport", "docker://quay.io/a", `leave out "docker://"`},
		{"upper case repository", "quay.io/Calico/node", `upper case 'C' in "Calico"`},
		{"empty tag", "nginx:", "empty tag"},
		{"empty tag before digest", "nginx:@" + digest256, "empty tag"},
		{"tag with slash", "nginx:a:b", "character ':'"},
		{"tag begins with dot", "nginx:.1", `tag ".1": character '.'`},
		{"tag with plus", "nginx:1+2", `tag "1+2": character '+'`},
		{"tag of 129", "nginx:" + strings.Repeat("t", 129), "tag of 129 characters"},
		{"name of 256", "x/" + strings.Repeat("a", 256-len("docker.io/x/")), "name of 256 characters"},
		{"empty digest", "nginx@", "not of the form"},
		{"short digest", "nginx@sha256:abc", "3 hex digits, want 64"},
		{"digest in upper case", "nginx@sha256:" + strings.ToUpper(hex256), "lower case"},
		{"md5", "nginx@md5:0123456789abcdef0123456789abcdef", "not sha256 or sha512"},
		{"sha384", "nginx@sha384:" + hex256 + hex256[:32], "not sha256 or sha512"},
		{"two digests", "nginx@" + digest256 + "@" + digest256, "hex digits"},
		{"host only", "quay.io/", "no repository"},
		{"leading slash", "/nginx", "empty part"},
		{"two slashes", "quay.io/a//b", "empty part"},
		{"slash at the end", "quay.io/a/", "empty part"},
		{"two dots", "quay.io/../b", "begins or ends"},
		{"dots between letters", "quay.io/a..b", `".." between letters`},
		{"three underscores", "quay.io/a___b", `"___" between letters`},
		{"mixed separators", "quay.io/a.-b", `".-" between letters`},
		{"separator at the end", "quay.io/a-/b", `"a-" begins or ends`},
		{"dollar", "quay.io/a$b", "character '$'"},
		{"byte order mark", "\ufeffnginx", `character '\ufeff'`},
		{"bytes that are no text", "a\xff", "character"},
		{"port is a word", "host:port/a", `"port" is not a port`},
		{"port is empty", "host.x:/a", `"" is not a port`},
		{"host with two ports", "a:1:2/b", `"1:2" is not a port`},
		{"host begins with dash", "-a.b/c", `"-a" is no part`},
		{"host with empty label", "a..b/c", `"" is no part`},
		{"host with underscore", "a_b.c/d", `"a_b" is no part`},
		{"IPv6 not closed", "[::1/a", "not an IPv6 address"},
		{"IPv6 that is none", "[::1::2]/a", "not an IPv6 address"},
		{"IPv4 in brackets", "[127.0.0.1]/a", "not an IPv6 address"},
		{"IPv6 with zone", "[fe80::1%eth0]/a", "not an IPv6 address"},
		{"text after IPv6", "[::1]x/a", `"x" after the address`},
		{"IPv6 without repository", "[::1]", "character '['"},
		{"image ID", hex256, "image ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseReference(c.in)
			if err == nil {
				t.Fatalf("ParseReference(%q) = %s, want an error", c.in, got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

func FuzzParseReferenceNeverPanics(f *testing.F) {
	for _, seed := range []string{
		"nginx", "a/b:c", "quay.io/a__b/c-d:1@" + digest256, "[::1]:5000/a", "localhost:5000", "A/b", "docker.io/x",
		"a@" + digest512, "host:1/", "://", "[]/a", "a:", "\xff", ".a/b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again != r {
			t.Fatalf("%q is %+v, its String %q is %+v, %v", s, r, r.String(), again, err)
		}
		if _, err := ParseReference(r.Name()); err != nil {
			t.Fatalf("%q has the name %q: %v", s, r.Name(), err)
		}
		if len(r.Name()) > 512 {
			t.Fatalf("name of %d bytes", len(r.Name()))
		}
	})
}

func TestMaskUser(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "quay.io/a/b:1": "quay.io/a/b:1", "quay.io/a@" + digest256: "quay.io/a@" + digest256, "a@b@c": "a@b@c",
		"ada:secret@quay.io/a":                    "***@quay.io/a",
		"ada:secret@localhost/a":                  "***@localhost/a",
		"https://ada:se@cret/@quay.io":            "***@quay.io",
		"ada:secret@quay.io/a:1@" + digest256:     "***@quay.io/a:1@" + digest256,
		"ada:sec.ret/@quay.io:443/a@" + digest256: "***@quay.io:443/a@" + digest256,
	} {
		if got := MaskUser(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
