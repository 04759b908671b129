package registry

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

func mustReference(t *testing.T, s string) oci.Reference {
	t.Helper()
	ref, err := oci.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func mustMap(t *testing.T, text string) []Rule {
	t.Helper()
	rules, err := ParseMap("rules", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestParseTarget(t *testing.T) {
	for _, tc := range []struct{ in, host, prefix, err string }{
		{"harbor.local", "harbor.local", "", ""},
		{"harbor.local/k8s", "harbor.local", "k8s", ""},
		{"harbor.local/k8s/use/it", "harbor.local", "k8s/use/it", ""},
		{"harbor.local/", "harbor.local", "", ""},
		{"harbor.local/k8s/", "harbor.local", "k8s", ""},
		{"harbor:8443/k8s", "harbor:8443", "k8s", ""},
		{"127.0.0.1:5000/k8s-use", "127.0.0.1:5000", "k8s-use", ""},
		{"localhost", "localhost", "", ""},
		{"localhost/x", "localhost", "x", ""},
		{"localhost:5000", "localhost:5000", "", ""},
		{"[::1]:5000/k8s", "[::1]:5000", "k8s", ""},
		{"[fd00::1]/k8s", "[fd00::1]", "k8s", ""},
		{"docker.io/acme", "docker.io", "acme", ""},
		{"index.docker.io/acme", "docker.io", "acme", ""},

		{"", "", "", "empty"},
		{"/k8s", "", "", "is not a registry"},
		{"harbor/k8s", "", "", `"harbor" is not a registry, which has a dot or a port as in harbor:443`},
		{"https://harbor.local/k8s", "", "", "write harbor.local/k8s"},
		{"http://127.0.0.1:5000", "", "", "write 127.0.0.1:5000"},
		{"harbor.local/k8s:v1", "", "", "has no tag"},
		{"harbor.local/k8s@sha256:00", "", "", "no @ belongs"},
		{"harbor.local/K8S", "", "", "K8S"},
		{"harbor.local//k8s", "", "", "empty part"},
		{"harbor.local/k8s//", "", "", "empty part"},
		{"harbor.local/../etc", "", "", ".."},
		{"harbor.local:port", "", "", "port"},
		{"user@harbor.local/k8s", "", "", "no @ belongs"},
		{"https://ann:hunter2/@harbor.local/k8s", "", "", "no @ belongs"},
		{"[::1/k8s", "", "", "host"},
		{"harbor.local/k8s use", "", "", "white space"},
		{"harbor.local/" + strings.Repeat("a", 300), "", "", "255"},
	} {
		t.Run(tc.in, func(t *testing.T) {
			got, err := ParseTarget(tc.in)
			if want := (oci.Repository{Host: tc.host, Path: tc.prefix}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in: %v", err)
			}
		})
	}
}

const (
	calico  = "quay.io/calico/node:v3"
	pause   = "registry.k8s.io/pause:3.9"
	deep    = "registry.k8s.io/sig-storage/csi/attacher:v4"
	hub     = "nginx:1.27"
	local   = "localhost:5000/team/app:1"
	hash1   = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	hash2   = "sha256:ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	pinned  = "quay.io/acme/tool@" + hash1
	pinned2 = "quay.io/acme/tool@" + hash2
	both    = "quay.io/acme/tool:v1@" + hash1
)

func TestNames(t *testing.T) {
	named, none, deepRoot := "base", "", "base/images"
	long := strings.Repeat("a/", 100) + "a"
	for _, tc := range []struct {
		name    string
		source  string
		naming  Naming // Host is h.io
		rules   string
		want    string // names without the host, between blanks
		renamed string // the rules that changed the first name, between commas
		err     string // instead of want
	}{
		{"path and tag stay", calico, Naming{}, "", "calico/node:v3", "", ""},
		{"under a prefix", calico, Naming{Prefix: "k8s/use"}, "", "k8s/use/calico/node:v3", "", ""},
		{"docker's own images are in library", hub, Naming{}, "", "library/nginx:1.27", "", ""},
		{"docker's own images under a prefix", hub, Naming{Prefix: "k8s"}, "", "k8s/library/nginx:1.27", "", ""},
		{"no tag means latest", "quay.io/a/b", Naming{}, "", "a/b:latest", "", ""},
		{"digest alone has no tag", pinned, Naming{Prefix: "k8s"}, "", "k8s/acme/tool", "", ""},
		{"tag and digest keeps the tag", both, Naming{}, "", "acme/tool:v1", "", ""},

		{"root at a bare host", pause, Naming{}, "", "root/pause:3.9", "root", ""},
		{"root not under a prefix", pause, Naming{Prefix: "k8s-use"}, "", "k8s-use/pause:3.9", "", ""},
		{"named root at a bare host", pause, Naming{Root: &named}, "", "base/pause:3.9", "root", ""},
		{"named root under a prefix", pause, Naming{Root: &named, Prefix: "k8s"}, "", "k8s/base/pause:3.9", "root", ""},
		{"root of two segments", pause, Naming{Root: &deepRoot}, "", "base/images/pause:3.9", "root", ""},
		{"empty root at a bare host", pause, Naming{Root: &none}, "", "pause:3.9", "", ""},
		{"empty root under a prefix", pause, Naming{Root: &none, Prefix: "k8s"}, "", "k8s/pause:3.9", "", ""},
		{"whole names at a bare host", pause, Naming{Whole: []string{"registry.k8s.io"}}, "", "pause:3.9", "", ""},
		{"whole names of another host", pause, Naming{Whole: []string{"quay.io"}}, "", "root/pause:3.9", "root", ""},
		{"whole names and a root", pause, Naming{Root: &named, Whole: []string{"registry.k8s.io"}}, "", "base/pause:3.9", "root", ""},
		{"root is for one segment only", calico, Naming{Root: &named}, "", "calico/node:v3", "", ""},
		{"root by digest alone", "registry.k8s.io/pause@" + hash1, Naming{}, "", "root/pause", "root", ""},

		{"keep-host", calico, Naming{KeepHost: true}, "", "quay.io/calico/node:v3", "", ""},
		{"keep-host needs no root", pause, Naming{KeepHost: true, Root: &named}, "", "registry.k8s.io/pause:3.9", "", ""},
		{"keep-host with a port", local, Naming{KeepHost: true}, "", "localhost_5000/team/app:1", "keep-host", ""},
		{"keep-host under a prefix", hub, Naming{KeepHost: true, Prefix: "m"}, "", "m/docker.io/library/nginx:1.27", "", ""},
		{"keep-host in upper case", "HARBOR/a/b:1", Naming{KeepHost: true}, "", "harbor/a/b:1", "keep-host", ""},
		{"keep-host of IPv6", "[fd00::1]:5000/a/b:1", Naming{KeepHost: true}, "", "fd00__1_5000/a/b:1", "keep-host", ""},

		{"flatten", deep, Naming{Flatten: FlattenJoin}, "", "sig-storage-csi-attacher:v4", "flatten", ""},
		{"flatten before the prefix", deep, Naming{Flatten: FlattenJoin, Prefix: "a/b"}, "", "a/b/sig-storage-csi-attacher:v4", "flatten", ""},
		{"flatten with another sign", deep, Naming{Flatten: FlattenJoin, FlattenSep: "__"}, "", "sig-storage__csi__attacher:v4", "flatten", ""},
		{"flatten of one segment", pause, Naming{Flatten: FlattenJoin, Prefix: "k8s"}, "", "k8s/pause:3.9", "", ""},
		{"flatten after root", pause, Naming{Flatten: FlattenJoin}, "", "root-pause:3.9", "root,flatten", ""},
		{"flatten after root under a prefix", pause, Naming{Flatten: FlattenJoin, Prefix: "k8s", Root: &named}, "", "k8s/base-pause:3.9", "root,flatten", ""},
		{"flatten after keep-host", local, Naming{Flatten: FlattenJoin, KeepHost: true}, "", "localhost_5000-team-app:1", "keep-host,flatten", ""},
		{"flatten to the last", deep, Naming{Flatten: FlattenLast, Prefix: "k8s"}, "", "k8s/attacher:v4", "flatten", ""},
		{"flatten to the last after root", pause, Naming{Flatten: FlattenLast}, "", "pause:3.9", "root,flatten", ""},

		{"map", calico, Naming{}, "calico/node => cni/node", "cni/node:v3", "map rules:1", ""},
		{"map before root", calico, Naming{}, "calico/node => node", "root/node:v3", "map rules:1,root", ""},
		{"map out of root", pause, Naming{}, "pause => base/pause", "base/pause:3.9", "map rules:1", ""},
		{"map before flatten and prefix", calico, Naming{Flatten: FlattenJoin, Prefix: "k8s"}, "calico/* => cni/x/$1", "k8s/cni-x-node:v3", "map rules:1,flatten", ""},
		{"map after keep-host", calico, Naming{KeepHost: true}, "quay.io/** => q/$1 $0", "q/calico/node:v3 quay.io/calico/node:v3", "map rules:1", ""},
		{"map of the kept host and port", local, Naming{KeepHost: true}, "localhost_5000/** => lab/$1", "lab/team/app:1", "keep-host,map rules:1", ""},
		{"map to the same name changes nothing", calico, Naming{}, "** => $0", "calico/node:v3", "", ""},
		{"map that fits nothing", calico, Naming{}, "calico/nod => x/y\nflannel/** => x/y", "calico/node:v3", "", ""},
		{"map: the first that fits wins", calico, Naming{}, "x/y => a/a\ncalico/** => b/b\n** => c/c", "b/b:v3", "map rules:2", ""},
		{"map: several names", calico, Naming{}, "calico/node => $0 a/b:x c/d", "calico/node:v3 a/b:x c/d:v3", "", ""},
		{"map: equal names become one", calico, Naming{Flatten: FlattenJoin}, "calico/node => a/b-c a/b-c a-b/c", "a-b-c:v3", "map rules:1,flatten", ""},
		{"map: tag", calico, Naming{}, "calico/node:v3 => calico/node:three", "calico/node:three", "map rules:1", ""},
		{"map: another tag", calico, Naming{}, "calico/node:v4 => x/y", "calico/node:v3", "", ""},
		{"map: captures in the tag", "quay.io/a/b:v1-arm64", Naming{}, "**:*-arm64 => $1:$2", "a/b:v1", "map rules:1", ""},
		{"map: empty capture", "quay.io/a/b:v", Naming{}, "a/b:v* => a/b:x$1", "a/b:x", "map rules:1", ""},
		{"map: tag pattern and no tag", pinned, Naming{}, "**:* => x/y", "acme/tool", "", ""},
		{"map: name for a digest", pinned, Naming{}, "acme/tool => acme/tool:pinned", "acme/tool:pinned", "map rules:1", ""},
		{"map: this digest", pinned, Naming{}, "**@" + hash2 + " => x/two:b\n**@" + hash1 + " => x/one:a", "x/one:a", "map rules:2", ""},
		{"map: beginning of a digest", pinned2, Naming{}, "acme/tool@sha256:0* => x/one:a\nacme/tool@sha256:f* => x/two:b", "x/two:b", "map rules:2", ""},
		{"map: digest pattern and no digest", calico, Naming{}, "**@* => x/y", "calico/node:v3", "", ""},
		{"map: tag and digest", both, Naming{}, "acme/*:v*@sha256:*def => x/$1:$2", "x/tool:1", "map rules:1", ""},
		{"map: the star stays in its segment", deep, Naming{}, "sig-storage/* => x/$1", "sig-storage/csi/attacher:v4", "", ""},
		{"map: two stars do not", deep, Naming{}, "sig-storage/** => x/$1", "x/csi/attacher:v4", "map rules:1", ""},
		{"map: stars take all they can", "quay.io/a-b-c/d:1", Naming{}, "*-*/* => $1/$2/$3", "a-b/c/d:1", "map rules:1", ""},
		{"map: whole names", "quay.io/xcalico/nodex:v3", Naming{}, "calico/node => x/y", "xcalico/nodex:v3", "", ""},
		{"map: a dot is a dot", "quay.io/a/bxc:1", Naming{}, "a/b.c => x/y", "a/bxc:1", "", ""},
		{"map: host", calico, Naming{}, "docker.io/** => d/$1\nquay.io/** => q/$1", "q/calico/node:v3", "map rules:2", ""},
		{"map: host and port", local, Naming{}, "localhost:5000/** => lab/$1", "lab/team/app:1", "map rules:1", ""},
		{"map: host with a star", pause, Naming{}, "*.k8s.io/* => $1-k8s/$2", "registry-k8s/pause:3.9", "map rules:1", ""},
		{"map: host in upper case", "HARBOR.local/a/b:1", Naming{}, "Harbor.LOCAL/** => x/$1", "x/a/b:1", "map rules:1", ""},
		{"map: regular expression", deep, Naming{}, `~(?:.+/)([^/]+):v(\d+) => last/$1:${2}.0`, "last/attacher:4.0", "map rules:1", ""},
		{"map: regular expression brings the tag along", calico, Naming{}, `~quay\.io/(.*) => q/$1`, "q/calico/node:v3", "map rules:1", ""},
		{"map: regular expression without a tag", pinned, Naming{}, `~quay\.io/(.*) => q/$1`, "q/acme/tool", "map rules:1", ""},
		{"map: regular expression fits whole names", calico, Naming{}, `~calico|node => q/x`, "calico/node:v3", "", ""},
		{"map: ten captures", "quay.io/abcdefghij/k:1", Naming{}, `~quay.io/(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)/k:1 => x/${10}$1`, "x/ja:1", "map rules:1", ""},
		{"map: capture with a port is no path", local, Naming{}, `~(.*) => $1`, "", "", "localhost:5000"},
		{"map: empty tag", calico, Naming{}, `~.*?()(v3)? => a/b:$1`, "", "", "empty tag"},

		{"upper case from a capture", "quay.io/a/b:RC1", Naming{}, "a/b:* => a/$1", "", "", "RC1"},
		{"too long with the prefix", "quay.io/" + long + ":1", Naming{Prefix: strings.Repeat("p", 60)}, "", "", "", "at most 255"},
		{"long enough", "quay.io/" + long + ":1", Naming{}, "", long + ":1", "", ""},
		{"not too deep", deep, Naming{MaxDepth: 4, Prefix: "k8s"}, "", "k8s/sig-storage/csi/attacher:v4", "", ""},
		{"too deep", deep, Naming{MaxDepth: 3, Prefix: "k8s"}, "", "", "", "4 segments, the target takes 3"},
		{"keep-host that is no path", "[::1]:5000/a/b:1", Naming{KeepHost: true}, "", "", "", `__1_5000`},

		{"bad separator", deep, Naming{Flatten: FlattenJoin, FlattenSep: "+"}, "", "", "", `"+" cannot join`},
		{"slash as separator", deep, Naming{Flatten: FlattenJoin, FlattenSep: "/"}, "", "", "", `"/" cannot join`},
		{"three underscores", deep, Naming{Flatten: FlattenJoin, FlattenSep: "___"}, "", "", "", "cannot join"},
		{"bad root", pause, Naming{Root: new("Root")}, "", "", "", `root "Root"`},
		{"root with a tag", pause, Naming{Root: new("root:x")}, "", "", "", `root "root:x"`},
		{"bad mode", pause, Naming{Flatten: 7}, "", "", "", "7 is no mode"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.naming.Host = "h.io"
			tc.naming.Map = mustMap(t, tc.rules)
			got, err := tc.naming.Names(mustReference(t, tc.source))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || got != nil {
					t.Fatalf("got %v, error %v, want %q", got, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, name := range got {
				names = append(names, strings.TrimPrefix(name.String(), "h.io/"))
			}
			if s := strings.Join(names, " "); s != tc.want {
				t.Errorf("got %s, want %s", s, tc.want)
			}
			if s := strings.Join(got[0].Renamed, ","); s != tc.renamed {
				t.Errorf("renamed by %q, want %q", s, tc.renamed)
			}
		})
	}
}

func TestNamesAtDockerHub(t *testing.T) {
	none := ""
	if got, err := (Naming{Host: "docker.io", Prefix: "acme"}).Names(mustReference(t, pause)); err != nil || got[0].String() != "docker.io/acme/pause:3.9" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := (Naming{Host: "docker.io", Root: &none}).Names(mustReference(t, pause)); err == nil {
		t.Errorf("got %v, which would read as docker.io/library/pause", got)
	}
}

// With flatten and a prefix images get the names that the shell loops of this field give them:
//
//	name=$(echo $image | sed 's#^[^/]*/##; s#/#-#g'); skopeo copy --all docker://$image docker://$target/$name
func TestFlattenIsWhatShellLoopsDo(t *testing.T) {
	images := []string{
		"quay.io/calico/node:v3.27.0", "registry.k8s.io/pause:3.9", "registry.k8s.io/sig-storage/csi-attacher:v4.0.0",
		"docker.io/library/nginx:1.27", "docker.io/kubernetesui/dashboard-web:1.0.0", "localhost:5000/a/b/c:1",
		"registry.k8s.io/a-b/c_d/e.f:v1", "quay.io/a__b/c--d:1.0-rc.1_x", "ghcr.io/k/l/m/n/o/p/q/r:2024.01.01",
		"[fd00::1]:5000/x/y:z", "127.0.0.1:30500/ns/app:1-arm64", "public.ecr.aws/eks-distro/kubernetes/pause:v1.29.1-eks-1-29-3",
		"mcr.microsoft.com/oss/kubernetes/pause:3.6", "quay.io/node:v1.2.3-4",
	}
	got := make([]string, len(images))
	for i, image := range images {
		names, err := Naming{Host: "uhub.example", Prefix: "k8s-use", Flatten: FlattenJoin}.Names(mustReference(t, image))
		if err != nil || len(names) != 1 {
			t.Fatalf("%s: %v, error %v", image, names, err)
		}
		got[i] = names[0].String()
	}
	for i, name := range shellNames(t, images) {
		if want := "uhub.example/k8s-use/" + name; got[i] != want {
			t.Errorf("%s: got %s, the loop has %s", images[i], got[i], want)
		}
	}
}

// shellNames returns what sed makes of the names; where there is no sed, what it would.
func shellNames(t *testing.T, images []string) []string {
	t.Helper()
	sed, err := exec.LookPath("sed")
	if err != nil {
		var names []string
		for _, image := range images {
			_, name, _ := strings.Cut(image, "/")
			names = append(names, strings.ReplaceAll(name, "/", "-"))
		}
		return names
	}
	cmd := exec.Command(sed, "s#^[^/]*/##; s#/#-#g")
	cmd.Stdin = strings.NewReader(strings.Join(images, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestParseFlatten(t *testing.T) {
	for s, want := range map[string]Flatten{"none": FlattenNone, "join": FlattenJoin, "last": FlattenLast} {
		if got, err := ParseFlatten(s); got != want || err != nil {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	if _, err := ParseFlatten("first"); err == nil {
		t.Error("first was taken")
	}
}

func TestParseMapReportsAllBadLines(t *testing.T) {
	bad := []struct{ line, want string }{
		{"calico/node", "want PATTERN => NAME"},
		{"calico/node =>", "want PATTERN => NAME"},
		{"calico/node -> x/y", "want PATTERN => NAME"},
		{"calico/node=>x/y", "want PATTERN => NAME"},
		{"=> x/y z", "want PATTERN => NAME"},
		{"calico/node => # x/y", "want PATTERN => NAME"},
		{"a//b => x/y", "empty segment"},
		{"/a => x/y", "empty segment"},
		{"a/ => x/y", "empty segment"},
		{"a: => x/y", "empty part"},
		{"a@ => x/y", "empty part"},
		{"Calico/node => x/y", `character "C" fits no name`},
		{"a/b? => x/y", `character "?" fits no name`},
		{"a/***/b => x/y", "more than two stars"},
		{"docker.io/nginx => x/y", "docker.io/library/nginx"},
		{"a/* => x/$2", "$2: the pattern has 1 captures"},
		{"a/* => x/${17}", "${17}: the pattern has 1 captures"},
		{"a/*/c => x/$1y$", "$"},
		{"a/d => X/y", "X/y"},
		{"a/e => x//y", "empty part"},
		{"a/f => x/y:", "empty tag"},
		{"a/g => x/y:-1", "-1"},
		{"a/h => x/y@" + hash1, "no digest"},
		{"a/i => ok/one /two", "/two"},
		{"a/j => harbor:5000/x", "harbor:5000"},
		{"~(a => x/y", "missing closing )"},
		{"~a)(b => x/y", "unexpected )"},
		{"~((a{100}){100}){100} => x/y", "invalid repeat count"},
		{"a/twice => x/z", "the pattern of line 1 again"},
		{"a/k => " + strings.Repeat("x ", maxMapNames+1), "more than 16 names"},
		{"a/l => " + strings.Repeat("x", maxMapLine), "longer than 4096 bytes"},
	}
	text := "a/twice => x/y # good\n"
	for _, b := range bad {
		text += b.line + "\n"
	}
	rules, err := ParseMap("dir/rules.txt", strings.NewReader(text))
	if err == nil || rules != nil {
		t.Fatalf("got %v, %v", rules, err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(bad) {
		t.Errorf("%d lines of errors, want %d:\n%v", len(lines), len(bad), err)
	}
	for i, b := range bad[:min(len(bad), len(lines))] {
		where := "dir/rules.txt:" + strconv.Itoa(i+2) + ": "
		if !strings.HasPrefix(lines[i], where) || !strings.Contains(lines[i], b.want) {
			t.Errorf("%.60q: got %q, want %q", b.line, lines[i], where+b.want)
		}
	}
}

func TestParseMapText(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		rules      int
		err        string
	}{
		{"empty", "", 0, ""},
		{"comments and blank lines", "# one\n\n   \t\n  # two\n", 0, ""},
		{"byte order mark, CR LF, no last line feed", "\uFEFFa/b => c/d\r\n# x\r\ne/f => g/h # y", 2, ""},
		{"not UTF-8", "a/b => c/\xff", 0, "rules: not a text file"},
		{"binary", "\x00\x01", 0, "rules: not a text file"},
		{"too many", strings.Join(manyRules(maxMapRules+1), "\n"), 0, "rules:10001: more than 10000 rules"},
		{"as many as there may be", strings.Join(manyRules(maxMapRules), "\n") + "\n# end\n", maxMapRules, ""},
		{"too large", strings.Repeat("#\n", maxMapFile), 0, "rules: larger than 1048576 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules, err := ParseMap("rules", strings.NewReader(tc.text))
			if len(rules) != tc.rules || (err != nil) != (tc.err != "") || (err != nil && !strings.HasPrefix(err.Error(), tc.err)) {
				t.Errorf("got %d rules, %v; want %d, %q", len(rules), err, tc.rules, tc.err)
			}
		})
	}
	broken := errors.New("disk on fire")
	if _, err := ParseMap("rules", failingReader{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func manyRules(n int) []string {
	rules := make([]string, n)
	for i := range rules {
		rules[i] = fmt.Sprintf("a/x%d => b/y", i)
	}
	return rules
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// TestDocumentedRules holds NAMING.md to its word: each rule of the example gives the name in its comment.
func TestDocumentedRules(t *testing.T) {
	doc, err := os.ReadFile("NAMING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```rules\n")
	text, _, _ = strings.Cut(text, "```")
	rules := mustMap(t, text)
	examples := regexp.MustCompile(`(?m)# (\S+) -> (.+)$`).FindAllStringSubmatch(text, -1)
	if len(examples) != len(rules) || len(rules) < 10 {
		t.Fatalf("%d rules with %d examples", len(rules), len(examples))
	}
	none := ""
	for _, e := range examples {
		names, err := Naming{Host: "h.io", Root: &none, Map: rules}.Names(mustReference(t, e[1]))
		var got []string
		for _, name := range names {
			got = append(got, strings.TrimPrefix(name.String(), "h.io/"))
		}
		if s := strings.Join(got, " "); s != e[2] || err != nil {
			t.Errorf("%s: got %s, %v; want %s", e[1], s, err, e[2])
		}
	}
}

func TestPlan(t *testing.T) {
	resolved := func(s, content string) Resolved {
		return Resolved{Reference: mustReference(t, s), Digest: digest.FromString(content)}
	}
	node, pauseImage := resolved(calico, "node"), resolved(pause, "pause")
	n := Naming{Host: "h.io", Prefix: "k8s", Map: mustMap(t, "pause => base/pause pause")}
	rows, err := n.Plan([]Resolved{node, pauseImage, node})
	if err != nil {
		t.Fatal(err)
	}
	name := func(path, tag string, renamed ...string) TargetName {
		return TargetName{oci.Repository{Host: "h.io", Path: path}, tag, renamed}
	}
	want := []PlannedName{
		{node, name("k8s/calico/node", "v3")},
		{pauseImage, name("k8s/base/pause", "3.9", "map rules:1")},
		{pauseImage, name("k8s/pause", "3.9")},
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("got  %+v\nwant %+v", rows, want)
	}
	if _, err := (Naming{Host: "h.io", FlattenSep: "/"}).Plan(nil); err == nil {
		t.Error("an impossible setting was taken without images")
	}
}

func TestPlanCollisions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		naming Naming
		rules  string
		images string // SOURCE=CONTENT, between blanks
		want   string // the names that collide, between blanks
	}{
		{"two hosts", Naming{}, "", "a.io/x/y:1=one b.io/x/y:1=two", "x/y:1"},
		{"two hosts, same content", Naming{}, "", "a.io/x/y:1=one b.io/x/y:1=one", ""},
		{"two hosts, keep-host", Naming{KeepHost: true}, "", "a.io/x/y:1=one b.io/x/y:1=two", ""},
		{"two tags", Naming{}, "", "a.io/x/y:1=one b.io/x/y:2=two", ""},
		{"flatten", Naming{Flatten: FlattenJoin}, "", "a.io/a/b-c:1=one a.io/a-b/c:1=two", "a-b-c:1"},
		{"flatten with another sign", Naming{Flatten: FlattenJoin, FlattenSep: "_"}, "", "a.io/a/b-c:1=one a.io/a-b/c:1=two", ""},
		{"flatten to the last", Naming{Flatten: FlattenLast, Prefix: "k8s"}, "", "a.io/a/x:1=one a.io/b/x:1=two a.io/c/y:1=3", "k8s/x:1"},
		{"root", Naming{}, "", "a.io/pause:1=one a.io/root/pause:1=two", "root/pause:1"},
		{"map", Naming{}, "** => all/in-one", "a.io/a/x:1=one a.io/b/y:1=two a.io/b/y:2=3", "all/in-one:1"},
		{"second name of a rule", Naming{}, "a/x => a/x b/y", "a.io/a/x:1=one a.io/b/y:1=two", "b/y:1"},
		{"one source twice, tag and digest", Naming{}, "", both + "=one quay.io/acme/tool:v1=two", "acme/tool:v1"},
		{"digests alone", Naming{}, "", pinned + "=one " + pinned2 + "=two", ""},
		{"digests with one tag", Naming{}, "acme/tool => acme/tool:x", pinned + "=one " + pinned2 + "=two", "acme/tool:x"},
		{"all of them", Naming{}, "", "a.io/x/y:1=1 b.io/x/y:1=2 c.io/x/y:1=1 a.io/z/z:1=1 b.io/z/z:1=2 a.io/ok/ok:1=1", "x/y:1 z/z:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.naming.Host = "h.io"
			tc.naming.Map = mustMap(t, tc.rules)
			var images []Resolved
			for image := range strings.FieldsSeq(tc.images) {
				source, content, _ := strings.Cut(image, "=")
				images = append(images, Resolved{mustReference(t, source), digest.FromString(content)})
			}
			rows, err := tc.naming.Plan(images)
			if len(rows) < len(images) {
				t.Errorf("%d rows of %d images", len(rows), len(images))
			}
			var collision *CollisionError
			var got []string
			if errors.As(err, &collision) {
				for _, c := range collision.Collisions {
					got = append(got, strings.TrimPrefix(c.Target.String(), "h.io/"))
					for _, image := range c.Images {
						if !strings.Contains(err.Error(), image.Reference.Name()) || !strings.Contains(err.Error(), image.Digest.String()) {
							t.Errorf("%s is not in: %v", image.Reference, err)
						}
					}
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("collisions at %q, want %q", s, tc.want)
			}
		})
	}
}

func TestPlanReportsAllProblems(t *testing.T) {
	var images []Resolved
	for _, s := range []string{deep, "a.io/x/y:1", "b.io/x/y:1", "a.io/a/b/c/d:1"} {
		images = append(images, Resolved{mustReference(t, s), digest.FromString(s)})
	}
	rows, err := Naming{Host: "h.io", Prefix: "p", MaxDepth: 3}.Plan(images)
	if err == nil || len(rows) != 2 {
		t.Fatalf("got %v, %v", rows, err)
	}
	for _, want := range []string{deep + " to h.io/p/sig-storage/csi/attacher:v4: 4 segments", "a/b/c/d:1: 5 segments", "b.io/x/y:1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	var collision *CollisionError
	var name *NameError
	if !errors.As(err, &collision) || !errors.As(err, &name) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseMapGivesNamesThatParse(f *testing.F) {
	doc, err := os.ReadFile("NAMING.md")
	if err != nil {
		f.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```rules\n")
	text, _, _ = strings.Cut(text, "```")
	f.Add(text, calico)
	f.Add("** => $0 $1/x\n", pause)
	f.Add("~(.*):(.*) => a/$2:$1", both)
	f.Add("*.io/*:*@* => $1:$4", both)
	f.Fuzz(func(t *testing.T, text, source string) {
		rules, err := ParseMap("rules", strings.NewReader(text))
		if err != nil {
			return
		}
		ref, err := oci.ParseReference(source)
		if err != nil {
			return
		}
		names, err := Naming{Host: "h.io", Prefix: "p", Map: rules}.Names(ref)
		if err == nil && len(names) == 0 {
			t.Error("no name and no error")
		}
		for _, name := range names {
			back, err := oci.ParseReference(name.String())
			if err != nil || back.Repository != name.Repository || (name.Tag != "" && back.Tag != name.Tag) {
				t.Errorf("%s: %+v, %v", name, back, err)
			}
			if !strings.HasPrefix(name.Repository.Path, "p/") {
				t.Errorf("%s is not under the prefix", name)
			}
		}
	})
}

func FuzzParseTargetGivesAHostAndAPath(f *testing.F) {
	for _, s := range []string{"harbor.local/k8s", "[::1]:5000", "localhost/", "docker.io", "a:1//b", "https://x.y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			return
		}
		if back, err := ParseTarget(target.String()); err != nil && target.Path != "" || err == nil && back != target {
			t.Errorf("%q is %+v, which reads back as %+v, %v", s, target, back, err)
		}
		if slices.Contains(strings.Split(target.String(), "/"), "..") {
			t.Errorf("%q is %+v", s, target)
		}
	})
}
