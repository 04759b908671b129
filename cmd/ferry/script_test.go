package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/harbor/harbortest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// story is the state of one script.
type story struct {
	tb         testing.TB
	registries map[string]*registrytest.Server
	harbors    map[string]*harbortest.Server // their registries are among registries, too
	proxies    map[string]*registrytest.Proxy
	stalled    map[string]chan struct{} // closed when the registry of that name stands still
	stores     map[string]*oci.Store    // held open
	serving    map[string]*serving
}

type storyKey struct{}

func setUpStory(env *testscript.Env) error {
	env.Values[storyKey{}] = &story{
		tb: env.T().(testing.TB), registries: map[string]*registrytest.Server{}, harbors: map[string]*harbortest.Server{},
		proxies: map[string]*registrytest.Proxy{}, stalled: map[string]chan struct{}{}, stores: map[string]*oci.Store{},
		serving: map[string]*serving{},
	}
	// No credentials of the machine, and no proxy of it either.
	env.Setenv("HOME", env.WorkDir)
	env.Setenv(raceExit[0], raceExit[1])
	env.Setenv("PLATFORM", runtime.GOOS+"/"+runtime.GOARCH)
	env.Setenv("FERRY", "ferry-"+runtime.GOOS+"-"+runtime.GOARCH) // what --with makes of it
	env.Setenv("DOCKER_CONFIG", "")
	env.Setenv("REGISTRY_AUTH_FILE", "")
	env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
	env.Setenv("XDG_CONFIG_HOME", "")
	env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/.cache")
	env.Setenv("XDG_STATE_HOME", env.WorkDir+"/.state")
	return nil
}

// inStory makes a method of story a command of the scripts. It must succeed, or fail after a `!`.
func inStory(fn func(*story, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := fn(ts.Value(storyKey{}).(*story), ts, args)
		if (err != nil) != neg {
			ts.Fatalf("%v", cmpError(err))
		}
	}
}

func cmpError(err error) error {
	if err == nil {
		return errors.New("it succeeded")
	}
	return err
}

// testImage is an image of the tests. It is made when it is wanted: the test binary plays ferry, too, which starts often
// and wants none.
type testImage struct {
	name  string
	graph func() *ocitest.Graph
}

func newTestImage(name string, graph func() *ocitest.Graph) testImage {
	return testImage{name: name, graph: sync.OnceValue(graph)}
}

// multiArch returns a test image of the given base.
func multiArch(name string, base uint64, app string) testImage {
	return newTestImage(name, func() *ocitest.Graph { return ocitest.MultiArch(base, app) })
}

// testImages are the images of the tests, by short name. All but pause share the layers of one base; nginx-new is
// another nginx.
var testImages = map[string]testImage{
	"alpine":    multiArch("docker.io/library/alpine:3.20", 1, "alpine"),
	"nginx":     multiArch("docker.io/library/nginx:1.27", 1, "nginx"),
	"nginx-new": multiArch("docker.io/library/nginx:1.27", 1, "nginx, rebuilt"),
	"calico":    multiArch("quay.io/calico/node:v3", 1, "calico"),
	"pause":     multiArch("registry.k8s.io/pause:3.9", 2, "pause"),
	"pinned":    multiArch("", 3, "pinned"), // named by its digest, see imageName
	"attested":  newTestImage("docker.io/library/attested:1", attested),
	"amd64only": newTestImage("docker.io/library/amd64only:1", func() *ocitest.Graph { return ocitest.Index(onAMD64(90, 3000)) }),
	"big":       newTestImage("quay.io/big/app:v1", func() *ocitest.Graph { return ocitest.Index(onAMD64(9, 300_000)) }),
	"heavy":     newTestImage("quay.io/heavy/app:v1", heavy),
	"single":    newTestImage("docker.io/library/single:1", func() *ocitest.Graph { return onAMD64(92, 3000) }),
	// The same names in two registries, each for one architecture.
	"app-amd64":      newTestImage("amd.example/team/app:v1", func() *ocitest.Graph { return ocitest.Index(onAMD64(40, 3000)) }),
	"app-arm64":      newTestImage("arm.example/team/app:v1", func() *ocitest.Graph { return ocitest.Index(onARM64(41, 3000)) }),
	"app-other":      newTestImage("arm.example/team/app:v1", func() *ocitest.Graph { return ocitest.Index(onAMD64(42, 3000), onARM64(41, 3000)) }),
	"job-amd64":      newTestImage("amd.example/team/job:v1", func() *ocitest.Graph { return onAMD64(43, 3000) }),
	"job-arm64":      newTestImage("arm.example/team/job:v1", func() *ocitest.Graph { return onARM64(44, 3000) }),
	"wrong-arm64":    newTestImage("arm.example/team/job:v1", func() *ocitest.Graph { return onAMD64(44, 3000) }), // says that it is for amd64
	"tool-amd64":     newTestImage("amd.example/team/tool:v2-amd64", func() *ocitest.Graph { return onAMD64(45, 3000) }),
	"tool-arm64":     newTestImage("amd.example/team/tool:v2-arm64", func() *ocitest.Graph { return onARM64(46, 3000) }),
	"buildkit-amd64": newTestImage("amd.example/team/kit:v1", func() *ocitest.Graph { return withAttestation(onAMD64(50, 3000), 51) }),
	"buildkit-arm64": newTestImage("arm.example/team/kit:v1", func() *ocitest.Graph { return withAttestation(onARM64(52, 3000), 53) }),
	// Two builds of one image.
	"old-build": newTestImage("amd.example/team/build:v1", func() *ocitest.Graph { return built(10, "1.0", "aaaa") }),
	"new-build": newTestImage("arm.example/team/build:v1", func() *ocitest.Graph { return built(12, "1.1", "bbbb") }),

	"docker-arm64": newTestImage("mirror.example/library/docker:1", func() *ocitest.Graph {
		return ocitest.DockerImage(ocitest.ARM64, ocitest.RandomLayer(47, 3000))
	}),
	"docker-oci": newTestImage("mirror.example/library/docker:1", func() *ocitest.Graph { return onARM64(48, 3000) }),
	"docker":     newTestImage("docker.io/library/docker:1", dockerList),
	"fine":       newTestImage("quay.io/compact/fine:1", fineLayers),
	"mixed":      newTestImage("quay.io/compact/mixed:1", mixedLayers),
	"twin-a":     newTestImage("docker.io/library/twin:a", func() *ocitest.Graph { return twin("arm64") }),
	"twin-b":     newTestImage("docker.io/library/twin:b", func() *ocitest.Graph { return twin("s390x") }),
}

func onAMD64(seed uint64, size int) *ocitest.Graph {
	return ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(seed, size))
}

func onARM64(seed uint64, size int) *ocitest.Graph {
	return ocitest.Image(ocitest.ARM64, ocitest.RandomLayer(seed, size))
}

// built returns an image for amd64 that was made at that hour.
func built(hour int, version, revision string) *ocitest.Graph {
	labels := map[string]string{ocispec.AnnotationVersion: version, ocispec.AnnotationRevision: revision}
	at := time.Date(2026, 11, 23, hour, 0, 0, 0, time.UTC)
	return ocitest.LabelledImage(ocitest.AMD64, at, labels, ocitest.RandomLayer(uint64(hour), 3000))
}

// heavy returns an image that does not fit into a few frames of a bundle.
func heavy() *ocitest.Graph {
	var layers []ocitest.Blob
	for i := range 6 {
		layers = append(layers, noise(100+i, 3<<20))
	}
	return ocitest.Index(ocitest.Image(ocitest.AMD64, layers...))
}

func dockerList() *ocitest.Graph {
	return ocitest.DockerList(ocitest.DockerImage(ocitest.AMD64, ocitest.RandomLayer(91, 3000)))
}

// imageName returns the full name of a test image.
func imageName(short string) string {
	if img := testImages[short]; img.name != "" {
		return img.name
	}
	return "quay.io/" + short + "/app@" + testImages[short].graph().Digest.String()
}

// registry NAME [tls] [mutual] [basic] [bearer] [immutable] [nocatalog] starts a registry and sets $NAME to its address, and
// writes NAME.pem. With mutual it wants a client certificate, which is in NAME.d.
func (s *story) registry(ts *testscript.TestScript, args []string) error {
	var o registrytest.Options
	var clients *registrytest.Authority
	for _, word := range args[1:] {
		switch word {
		case "tls":
			o.TLS = true
		case "mutual":
			clients = registrytest.NewAuthority(s.tb, "clients")
			o.TLS, o.ClientCA = true, clients.CA()
		case "bearer":
			o.Auth, o.Username, o.Password = registrytest.Bearer, "ada", "secret"
		case "basic":
			o.Auth, o.Username, o.Password = registrytest.Basic, "ada", "secret"
		case "immutable":
			o.ImmutableTags = true
		case "nocatalog":
			o.NoCatalog = true
		case "noapi":
			o.NoReferrers = true
		case "nourls":
			o.RefuseURLs = true
		default:
			return fmt.Errorf("registry: %q", word)
		}
	}
	r := registrytest.New(s.tb, o)
	s.registries[args[0]] = r
	ts.Setenv(args[0], r.Host())
	if clients != nil {
		return writeClientFiles(ts, args[0], clients, r.CAPEM())
	}
	if o.TLS {
		return os.WriteFile(ts.MkAbs(args[0]+".pem"), r.CAPEM(), 0o644)
	}
	return nil
}

// mkbundle FILE IMAGE... writes a bundle of test images. An image as missing=NAME is recorded as missing, one as
// public=HOST/PROJECT or private=HOST/PROJECT is a project of the registry that it is a backup of.
func (s *story) makeBundle(ts *testscript.TestScript, args []string) error {
	return writeTestBundle(ts.MkAbs(args[0]), args[1:]...)
}

func writeTestBundle(path string, images ...string) error {
	blobs := map[string][]byte{}
	c := bundle.Contents{Labels: map[string]string{"site": "north"}}
	for _, short := range images {
		if name, ok := strings.CutPrefix(short, "missing="); ok {
			c.Missing = append(c.Missing, bundle.Missing{Name: name, Reason: "not found"})
			continue
		}
		if visibility, name, ok := strings.Cut(short, "="); ok {
			host, project, _ := strings.Cut(name, "/")
			c.Projects = append(c.Projects, bundle.Project{Registry: host, Name: project, Public: visibility == "public"})
			continue
		}
		g := testImages[short].graph()
		root := g.Node()
		root.ConfigPlatform = g.Platform // as pack does it, for images without an index
		c.Images = append(c.Images, bundle.Entry{Name: imageName(short), Root: root, Pinned: short == "pinned"})
		for _, b := range g.All() {
			blobs[b.Digest.String()] = b.Bytes
		}
	}
	return writeContents(path, c, blobs)
}

// writeContents writes a bundle, whose blobs are given by digest.
func writeContents(path string, c bundle.Contents, blobs map[string][]byte) error {
	format, err := compress.FormatByName(path)
	if err != nil {
		return err
	}
	out, err := bundle.CreateOutput(path, bundle.OutputOptions{})
	if err != nil {
		return err
	}
	w, err := bundle.NewWriter(out, c, compress.WriterOptions{Format: format})
	if err != nil {
		return err
	}
	for _, d := range w.Blobs() {
		if err := w.WriteBlob(d, bytes.NewReader(blobs[d.Digest.String()]), true); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Commit()
}

// damage FILE IMAGE flips a bit in the layer of the image that no other has, or in its content where that is un-gzipped;
// damage FILE head one in the head. The file is a plain tar, in which members can be found without ferry's help.
func (s *story) damage(ts *testscript.TestScript, args []string) error {
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	what := []byte(`"ferry-bundle"`)
	if args[1] != "head" {
		blobs := testImages[args[1]].graph().Children[0].Blobs
		what = blobs[len(blobs)-1].Bytes
		if r, err := gzip.NewReader(bytes.NewReader(what)); err == nil && !bytes.Contains(raw, what) {
			if what, err = io.ReadAll(r); err != nil {
				return err
			}
		}
	}
	at := bytes.Index(raw, what)
	if at < 0 {
		return fmt.Errorf("%s is not in %s", args[1], args[0])
	}
	raw[at+len(what)/2] ^= 1
	return os.WriteFile(path, raw, 0o644)
}

// cut FILE N takes the last N bytes off the file.
func (s *story) cut(ts *testscript.TestScript, args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	return os.Truncate(ts.MkAbs(args[0]), info.Size()-n)
}

// contentid FILE NAME sets $NAME to the content id of a bundle.
func (s *story) contentID(ts *testscript.TestScript, args []string) error {
	f, err := os.Open(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	_, id, err := bundle.ReadHead(f, bundle.Options{})
	ts.Setenv(args[1], id)
	return err
}

// holds REGISTRY REPOSITORY[:TAG] IMAGE proves that the registry has the whole image, byte for byte, under that name.
func (s *story) holds(_ *testscript.TestScript, args []string) error {
	r, g := s.registries[args[0]], testImages[args[2]].graph()
	repo, tag, tagged := strings.Cut(args[1], ":")
	if got := r.Tags(repo)[tag]; tagged && got != g.Digest {
		return fmt.Errorf("%s is %q, want %s", args[1], got, g.Digest)
	}
	return s.hasWhole(args[0], repo, g)
}

// hasWhole returns an error unless a repository has all of g, byte for byte.
func (s *story) hasWhole(registry, repo string, g *ocitest.Graph) error {
	r := s.registries[registry]
	for _, b := range g.All() {
		raw, ok := r.Blob(repo, b.Digest)
		if !ok {
			_, raw, ok = r.Manifest(repo, b.Digest.String())
		}
		if !ok || !bytes.Equal(raw, b.Bytes) {
			return fmt.Errorf("%s does not have %s %s", repo, b.MediaType, b.Digest)
		}
	}
	return nil
}

// requests REGISTRY METHOD KIND N proves how many requests the registry got.
func (s *story) requests(_ *testscript.TestScript, args []string) error {
	got := s.registries[args[0]].Count(args[1], registrytest.Kind(args[2]))
	if want := args[3]; strconv.Itoa(got) != want {
		return fmt.Errorf("%d requests %s %s, want %s", got, args[1], args[2], want)
	}
	return nil
}

// forget REGISTRY forgets the requests so far.
func (s *story) forget(_ *testscript.TestScript, args []string) error {
	s.registries[args[0]].ResetCounts()
	return nil
}

// refuse REGISTRY REPOSITORY [STATUS CODE MESSAGE [TAG]] makes the registry deny all writing to the repository, or that of
// a tag.
func (s *story) refuse(_ *testscript.TestScript, args []string) (err error) {
	status, code, message := 403, "DENIED", "you may not write here"
	if len(args) > 2 {
		code, message = args[3], args[4]
		if status, err = strconv.Atoi(args[2]); err != nil {
			return err
		}
	}
	if len(args) > 5 {
		s.registries[args[0]].Fault(registrytest.Match{Method: "PUT", Repo: args[1], Ref: args[5]}, registrytest.Code(status, code, message))
		return nil
	}
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		s.registries[args[0]].Fault(registrytest.Match{Method: method, Repo: args[1]}, registrytest.Code(status, code, message))
	}
	return nil
}

// code N COMMAND... runs a command, which must end with exit code N. Its output is there for stdout and stderr.
func (s *story) code(ts *testscript.TestScript, args []string) error {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		return err
	}
	if strconv.Itoa(got) != args[0] {
		return fmt.Errorf("exit code %d, want %s", got, args[0])
	}
	return nil
}
