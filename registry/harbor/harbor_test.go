package harbor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
	"github.com/ferry-oci/ferry/registry/harbor"
	"github.com/ferry-oci/ferry/registry/harbor/harbortest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

const (
	testUser     = "robot$backup"
	testPassword = "hunter2-is-secret"
)

var withUser = harbortest.Options{
	Registry: registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword},
}

// client returns a client for h, and one for its registry.
func client(t *testing.T, host string) (*harbor.Client, *registry.Client) {
	t.Helper()
	api := registry.NewClient(registry.Options{Retries: -1, Host: func(string) registry.HostOptions {
		return registry.HostOptions{Credential: func(context.Context, oci.Repository) (registry.Credential, error) {
			return registry.Credential{Username: testUser, Password: testPassword}, nil
		}}
	}})
	t.Cleanup(api.Close)
	c, err := harbor.Find(t.Context(), api, host)
	if err != nil {
		t.Fatal(err)
	}
	return c, api
}

// addImage puts a manifest without blobs into a repository, and returns it.
func addImage(t *testing.T, h *harbortest.Server, repo, content string, tags ...string) ocispec.Descriptor {
	t.Helper()
	config := h.AddBlob(repo, []byte(`{"content":"`+content+`"}`))
	config.MediaType = ocispec.MediaTypeImageConfig
	return add(t, h, repo, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
	}, tags...)
}

func add(t *testing.T, h *harbortest.Server, repo, mediaType string, v any, tags ...string) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := h.AddManifest(repo, mediaType, raw)
	for _, tag := range tags {
		h.Tag(repo, tag, d.Digest)
	}
	return d
}

func TestFind(t *testing.T) {
	h := harbortest.New(t, withUser)
	if c, _ := client(t, h.Host()); c == nil {
		t.Error("a Harbor is not found to be one")
	}
	plain := registrytest.New(t, registrytest.Options{})
	if c, _ := client(t, plain.Host()); c != nil {
		t.Error("a plain registry is taken for a Harbor")
	}
	page := registrytest.New(t, registrytest.Options{})
	page.Fault(registrytest.Match{Kind: registrytest.Other}, registrytest.Status(200, "<html>welcome</html>"))
	if c, _ := client(t, page.Host()); c != nil {
		t.Error("a web page is taken for a Harbor")
	}
	api := registry.NewClient(registry.Options{})
	defer api.Close()
	if c, err := harbor.Find(t.Context(), api, "docker.io"); c != nil || err != nil {
		t.Errorf("docker.io, which is not to be asked: got %v, %v", c, err)
	}
	page.Close()
	if _, err := harbor.Find(t.Context(), api, page.Host()); err == nil {
		t.Error("a host that is not there gives no error")
	}
}

// All pages are read by number, at most 100 rows each, although the links in the answers lead astray.
func TestProjectsAndRepositoriesOfManyPages(t *testing.T) {
	h := harbortest.New(t, withUser)
	var want []string
	for i := range 205 {
		name := fmt.Sprintf("p%03d", i)
		h.AddProject(harbortest.Project{Name: name, Public: i%2 == 0, Proxy: i == 7})
		want = append(want, name)
	}
	var repos []string
	for i := range 250 {
		repos = append(repos, fmt.Sprintf("team/image-%03d", i))
		h.Tag("p000/"+repos[i], "v1", digest.FromString("x"))
	}
	h.Tag("p0001/other", "v1", digest.FromString("x"))
	c, _ := client(t, h.Host())
	projects, err := c.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, p := range projects {
		got = append(got, p.Name)
		if p.Public() != (i%2 == 0) || p.IsProxy() != (i == 7) {
			t.Errorf("project %s: public %v, proxy %v", p.Name, p.Public(), p.IsProxy())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d projects, want %d", len(got), len(want))
	}
	gotRepos, err := c.Repositories(t.Context(), "p000")
	if err != nil || !slices.Equal(gotRepos, repos) {
		t.Errorf("got %d repositories, want %d; %v", len(gotRepos), len(repos), err)
	}
	for _, r := range h.APIRequests() {
		if r.Cookie != "" {
			t.Errorf("%s %s: sent a cookie", r.Method, r.Path)
		}
		if r.Status != 200 || !strings.HasPrefix(r.Authorization, "Basic ") {
			t.Errorf("%s %s?%s: status %d, authorization %.10q", r.Method, r.Path, r.Query, r.Status, r.Authorization)
		}
	}
	if n := len(h.APIRequests()); n != 1+3+3 {
		t.Errorf("%d requests, want 7", n)
	}
}

func TestArtifacts(t *testing.T) {
	h := harbortest.New(t, withUser)
	h.AddProject(harbortest.Project{Name: "k8s"})
	const repo = "k8s/sig/storage/attacher"
	amd64, arm64 := addImage(t, h, repo, "amd64"), addImage(t, h, repo, "arm64")
	index := add(t, h, repo, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{amd64, arm64},
	}, "v1", "latest")
	loose := addImage(t, h, repo, "loose")
	signature := addImage(t, h, repo, "signature", "sha256-"+index.Digest.Encoded()+".sig")
	c, _ := client(t, h.Host())
	got, err := c.Artifacts(t.Context(), "k8s", "sig/storage/attacher")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[digest.Digest]harbor.Artifact{}
	for _, a := range got {
		rows[a.Digest] = a
	}
	if len(rows) != 2 || len(rows[loose.Digest].Tags) != 0 {
		t.Fatalf("got %v", got)
	}
	a := rows[index.Digest]
	if len(a.Tags) != 2 || a.Tags[0].Name != "latest" || a.Tags[1].Name != "v1" || a.Tags[1].Pushed.IsZero() {
		t.Errorf("got tags %v", a.Tags)
	}
	if len(a.Accessories) != 1 || a.Accessories[0].Digest != signature.Digest || a.Accessories[0].Type != "signature.cosign" {
		t.Errorf("got accessories %v", a.Accessories)
	}
	last := h.APIRequests()[len(h.APIRequests())-1]
	if want := "/api/v2.0/projects/k8s/repositories/sig%252Fstorage%252Fattacher/artifacts"; last.Path != want {
		t.Errorf("asked for %s, want %s", last.Path, want)
	}
	if _, err := c.Artifacts(t.Context(), "k8s", "none"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a repository that is not there: got %v", err)
	}
}

func TestCreateProject(t *testing.T) {
	h := harbortest.New(t, withUser)
	c, _ := client(t, h.Host())
	ctx := t.Context()
	if has, err := c.HasProject(ctx, "2024"); has || err != nil {
		t.Errorf("a project that is not there: got %v, %v", has, err)
	}
	for i := range 2 { // the second one finds it there
		if created, err := c.CreateProject(ctx, "2024", true); err != nil || created != (i == 0) {
			t.Fatalf("time %d: got %v, %v", i, created, err)
		}
	}
	if has, err := c.HasProject(ctx, "2024"); !has || err != nil {
		t.Errorf("the new project: got %v, %v", has, err)
	}
	if p, ok := h.Project("2024"); !ok || !p.Public {
		t.Errorf("got %v, %v", p, ok)
	}
	if p, err := c.Project(ctx, "2024"); err != nil || p.Name != "2024" {
		t.Errorf("a project whose name is a number: got %v, %v", p, err)
	}
	if _, err := c.CreateProject(ctx, "private", false); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Project(ctx, "private"); err != nil || p.Public() {
		t.Errorf("got %v, %v", p, err)
	}
	o := withUser
	o.NoCreate = true
	c, _ = client(t, harbortest.New(t, o).Host())
	if _, err := c.CreateProject(ctx, "x", false); !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), "create project x") {
		t.Errorf("without the right: got %v", err)
	}
}

func TestSettings(t *testing.T) {
	h := harbortest.New(t, withUser)
	h.AddProject(harbortest.Project{Name: "bare"})
	h.AddProject(harbortest.Project{
		Name: "full", Public: true, Quota: 10 << 30,
		Retention:    `{"id":3,"algorithm":"or","rules":[{"id":9,"template":"latestPushedK"}],"scope":{"level":"project","ref":2}}`,
		Immutability: `[{"id":2,"template":"immutable_template","disabled":false},{"id":1,"disabled":true}]`,
		Labels:       `[{"id":1,"name":"prod","creation_time":"2026-01-01T00:00:00Z","project_id":2}]`,
	})
	h.AddBlob("full/x", make([]byte, 1000))
	c, _ := client(t, h.Host())
	var got []harbor.Settings
	for _, name := range []string{"bare", "full"} {
		p, err := c.Project(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Settings(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if s := got[0]; s.Public || s.Quota == nil || s.Quota.Hard != -1 || s.Retention != nil || s.Immutability != nil || s.Labels != nil {
		t.Errorf("bare: got %+v", s)
	}
	s := got[1]
	if !s.Public || *s.Quota != (harbor.Quota{Hard: 10 << 30, Used: 1000}) {
		t.Errorf("full: got public %v, quota %v", s.Public, s.Quota)
	}
	for what, pair := range map[string][2]string{
		"retention":    {string(s.Retention), `{"algorithm":"or","rules":[{"template":"latestPushedK"}],"scope":{"level":"project"}}`},
		"immutability": {string(s.Immutability), `[{"disabled":false,"template":"immutable_template"},{"disabled":true}]`},
		"labels":       {string(s.Labels), `[{"name":"prod"}]`},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %s, want %s", what, pair[0], pair[1])
		}
	}
	o := withUser
	o.NoQuota = true
	h = harbortest.New(t, o)
	h.AddProject(harbortest.Project{Name: "k8s", Quota: 5})
	c, _ = client(t, h.Host())
	if _, known, err := c.Quota(t.Context(), "k8s"); known || err != nil {
		t.Errorf("a quota that is withheld: got %v, %v", known, err)
	}
}

// What a user may do is asked of the token server, with nothing opened at the registry.
func TestMayPush(t *testing.T) {
	h := harbortest.New(t, withUser)
	h.AddProject(harbortest.Project{Name: "mine"})
	h.AddProject(harbortest.Project{Name: "read", ReadOnly: true})
	h.AddProject(harbortest.Project{Name: "theirs", Hidden: true})
	c, api := client(t, h.Host())
	for repo, want := range map[string]bool{"mine/a/b": true, "read/a": false, "theirs/a": false, "none/a": false} {
		if may, known, err := c.MayPush(t.Context(), repo); may != want || !known || err != nil {
			t.Errorf("%s: got %v, known %v, %v", repo, may, known, err)
		}
	}
	if has, err := c.HasProject(t.Context(), "theirs"); !has || err != nil {
		t.Errorf("a project that the user may not see: got %v, %v", has, err)
	}
	if n := h.Count("POST", ""); n != 0 {
		t.Errorf("%d uploads were opened", n)
	}
	content := []byte("x")
	blob := oci.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: 1}
	err := api.Push(t.Context(), oci.Repository{Host: h.Host(), Path: "read/a"}, blob, contentOf(content))
	if !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), "read/a, action: push") {
		t.Errorf("a push without the right: got %v", err)
	}
	stranger := registry.NewClient(registry.Options{Host: func(string) registry.HostOptions {
		return registry.HostOptions{Credential: func(context.Context, oci.Repository) (registry.Credential, error) {
			return registry.Credential{Username: testUser, Password: "wrong"}, nil
		}}
	}})
	defer stranger.Close()
	if c, err = harbor.Find(t.Context(), stranger, h.Host()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.MayPush(t.Context(), "mine/a"); !errors.Is(err, oci.ErrDenied) {
		t.Errorf("a wrong password: got %v", err)
	}
}

// Harbor answers to a token that is not good any more by asking for user name and password.
func TestTokensThatExpireInAPush(t *testing.T) {
	for uses := 1; uses <= 3; uses++ {
		o := withUser
		o.Registry.TokenUses = uses
		h := harbortest.New(t, o)
		h.AddProject(harbortest.Project{Name: "k8s"})
		_, api := client(t, h.Host())
		for _, text := range []string{"one", "two"} {
			content := []byte(text)
			blob := oci.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: int64(len(content))}
			if err := api.Push(t.Context(), oci.Repository{Host: h.Host(), Path: "k8s/x"}, blob, contentOf(content)); err != nil {
				t.Errorf("tokens of %d requests: %v", uses, err)
			}
			if _, ok := h.Blob("k8s/x", blob.Digest); !ok {
				t.Errorf("tokens of %d requests: the blob is not there", uses)
			}
		}
	}
}

// A mount from what is not there is a push: Harbor refuses it when there is no such project, and opens an upload when there
// is no such repository.
func TestMountFromWhatIsNotThere(t *testing.T) {
	h := harbortest.New(t, withUser)
	h.AddProject(harbortest.Project{Name: "k8s"})
	_, api := client(t, h.Host())
	content := []byte("x")
	blob := oci.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: 1}
	to := oci.Repository{Host: h.Host(), Path: "k8s/x"}
	for _, from := range []string{"nope/y", "k8s/y"} {
		mounted, err := api.Mount(t.Context(), oci.Repository{Host: h.Host(), Path: from}, to, blob)
		if mounted || err != nil {
			t.Errorf("%s: got %v, %v", from, mounted, err)
		}
	}
	if err := api.Push(t.Context(), to, blob, contentOf(content)); err != nil {
		t.Error(err)
	}
	if n := h.Count("POST", registrytest.Upload); n != 0 {
		t.Errorf("the upload that the mount opened was not used: %d others", n)
	}
}

// A token that ferry cannot read says nothing about rights.
func TestMayPushWithTokensOfAnotherKind(t *testing.T) {
	for name, body := range map[string]string{
		"no token": `{}`, "opaque": `{"token":"abc"}`, "no base64": `{"token":"a.*.c"}`, "no claims": `{"token":"a.e30.c"}`, "a page": `<html>`,
	} {
		h := harbortest.New(t, harbortest.Options{Token: body})
		c, _ := client(t, h.Host())
		if _, known, err := c.MayPush(t.Context(), "k8s/x"); known || err != nil {
			t.Errorf("%s: got known %v, %v", name, known, err)
		}
	}
}

// The secret of a user who logs in by OIDC is not good for all of Harbor's API.
func TestProjectsOfUsersByOIDC(t *testing.T) {
	o := withUser
	o.OIDC = true
	h := harbortest.New(t, o)
	h.AddProject(harbortest.Project{Name: "old-mine", Proxy: true})
	h.AddProject(harbortest.Project{Name: "mine", Public: true})
	h.AddProject(harbortest.Project{Name: "theirs", Hidden: true})
	c, _ := client(t, h.Host())
	for name, want := range map[string]bool{"mine": true, "theirs": true, "none": false} {
		if has, err := c.HasProject(t.Context(), name); has != want || err != nil {
			t.Errorf("%s: got %v, %v", name, has, err)
		}
	}
	if p, err := c.Project(t.Context(), "mine"); err != nil || p.Name != "mine" || !p.Public() || p.IsProxy() {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := c.Project(t.Context(), "theirs"); !errors.Is(err, oci.ErrDenied) {
		t.Errorf("a project of others: got %v", err)
	}
	if _, known, err := c.Quota(t.Context(), "mine"); known || err != nil {
		t.Errorf("quota: got known %v, %v", known, err)
	}
	addImage(t, h, "mine/x", "x", "v1")
	if repos, err := c.Repositories(t.Context(), "mine"); err != nil || len(repos) != 1 {
		t.Errorf("repositories: got %v, %v", repos, err)
	}
	if fixed, err := c.TagImmutable(t.Context(), "mine", "x", "v1"); fixed || err != nil {
		t.Errorf("a tag of which Harbor does not tell: got %v, %v", fixed, err)
	}
	if created, err := c.CreateProject(t.Context(), "new", false); !created || err != nil {
		t.Errorf("a new project: got %v, %v", created, err)
	}
}

func TestTagImmutable(t *testing.T) {
	h := harbortest.New(t, withUser)
	h.AddProject(harbortest.Project{Name: "k8s", ImmutableTags: []string{"v*"}})
	addImage(t, h, "k8s/sig/x", "x", "v1", "latest")
	c, _ := client(t, h.Host())
	for tag, want := range map[string]bool{"v1": true, "latest": false, "v2": false} {
		if got, err := c.TagImmutable(t.Context(), "k8s", "sig/x", tag); got != want || err != nil {
			t.Errorf("%s: got %v, %v", tag, got, err)
		}
	}
}

// What Harbor answers to a push that it does not take, in the words of the errors that come back.
func TestPushesThatHarborRefuses(t *testing.T) {
	for name, auth := range map[string]registrytest.Auth{"bearer": registrytest.Bearer, "basic": registrytest.Basic} {
		t.Run(name, func(t *testing.T) {
			o := withUser
			o.Registry.Auth = auth
			testRefusals(t, harbortest.New(t, o))
		})
	}
}

func testRefusals(t *testing.T, h *harbortest.Server) {
	h.AddProject(harbortest.Project{Name: "cache", Proxy: true})
	h.AddProject(harbortest.Project{Name: "small", Quota: 10})
	h.AddProject(harbortest.Project{Name: "fixed", ImmutableTags: []string{"v*"}})
	image := addImage(t, h, "fixed/x", "same", "v1")
	_, raw, _ := h.Manifest("fixed/x", "v1")
	_, api := client(t, h.Host())
	content := []byte(strings.Repeat("x", 100))
	blob := oci.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: 100}
	index := []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":2}]}`,
		ocispec.MediaTypeImageManifest, digest.FromString("{}")))
	push := func(path string) error {
		return api.Push(t.Context(), oci.Repository{Host: h.Host(), Path: path}, blob, contentOf(content))
	}
	tag := func(path, tag string, d ocispec.Descriptor, raw []byte) error {
		return api.Tag(t.Context(), oci.Repository{Host: h.Host(), Path: path}, tag, d, raw)
	}
	sparse := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(index), Size: int64(len(index))}
	if err := tag("fixed/x", "w2", sparse, index); !errors.Is(err, oci.ErrIncomplete) {
		t.Errorf("an index without its child is not known to lack something: got %v", err)
	}
	for name, test := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"no such project":                    {push("nope/x"), 401, "project nope not found"},
		"a cache":                            {push("cache/x"), 403, "proxy project"},
		"quota":                              {push("small/x"), 403, "will exceed the configured upper limit"},
		"immutable, although it is the same": {tag("fixed/x", "v1", image, raw), 412, "configured as immutable"},
		"another tag":                        {tag("fixed/x", "w1", image, raw), 0, ""},
		"an index without its child":         {tag("fixed/x", "w2", sparse, index), 404, "not found"},
	} {
		var status *registry.Error
		switch {
		case test.status == 0 && test.err != nil:
			t.Errorf("%s: %v", name, test.err)
		case test.status != 0 && (!errors.As(test.err, &status) || status.Status != test.status || !strings.Contains(status.Message, test.text)):
			t.Errorf("%s: got %v", name, test.err)
		}
	}
}

func contentOf(raw []byte) oci.Content {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
}
