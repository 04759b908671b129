package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// addGraph puts an image or an artifact into a repository, with a tag unless that is empty.
func addGraph(srv *registrytest.Server, repo, tag string, g *ocitest.Graph) {
	for _, b := range g.All() {
		if oci.IsManifest(b.MediaType) {
			srv.AddManifest(repo, b.MediaType, b.Bytes)
		} else {
			srv.AddBlob(repo, b.Bytes)
		}
	}
	if tag != "" {
		srv.Tag(repo, tag, g.Digest)
	}
}

// addFallback puts an index that lists the graphs under the fallback tag of subject.
func addFallback(t *testing.T, srv *registrytest.Server, repo string, subject digest.Digest, list ...*ocitest.Graph) {
	t.Helper()
	var entries []oci.Descriptor
	for _, g := range list {
		addGraph(srv, repo, "", g)
		entries = append(entries, g.Descriptor)
	}
	d, raw := testIndex(t, entries...)
	srv.AddManifest(repo, d.MediaType, raw)
	srv.Tag(repo, oci.FallbackTag(subject), d.Digest)
}

// found tells in one line what Referrers has found.
func found(list []oci.FoundReferrer) string {
	var words []string
	for _, r := range list {
		words = append(words, fmt.Sprintf("%s %s%s", r.Found, r.Descriptor.Digest.Encoded()[:8], strings.TrimPrefix(r.Tag, "sha256-")))
	}
	return strings.Join(words, ", ")
}

func foundAs(by oci.FoundBy, g *ocitest.Graph, tag string) oci.FoundReferrer {
	return oci.FoundReferrer{Descriptor: g.Descriptor, Found: by, Tag: tag}
}

func TestReferrers(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	signature := ocitest.Referrer(ocitest.SignatureType, image, "signature")
	ofChild := ocitest.Referrer(ocitest.SBOMType, image.Children[0], "sbom of a child")
	cosign, cosignTag := ocitest.CosignSignature(image), ocitest.CosignTag(image)
	for name, test := range map[string]struct {
		o    registrytest.Options
		put  func(t *testing.T, srv *registrytest.Server)
		want []oci.FoundReferrer
	}{
		"none, with the API": {},
		"none, without it":   {o: registrytest.Options{NoReferrers: true}},
		"by the API": {
			put:  func(t *testing.T, srv *registrytest.Server) { addGraph(srv, "app", "", sbom) },
			want: []oci.FoundReferrer{foundAs(oci.FoundByAPI, sbom, "")},
		},
		"by the API, in pages of one": {
			o: registrytest.Options{MaxPage: 1},
			put: func(t *testing.T, srv *registrytest.Server) {
				addGraph(srv, "app", "", sbom)
				addGraph(srv, "app", "", signature)
			},
			want: []oci.FoundReferrer{foundAs(oci.FoundByAPI, sbom, ""), foundAs(oci.FoundByAPI, signature, "")},
		},
		"by the fallback tag": {
			o:    registrytest.Options{NoReferrers: true},
			put:  func(t *testing.T, srv *registrytest.Server) { addFallback(t, srv, "app", image.Digest, sbom) },
			want: []oci.FoundReferrer{foundAs(oci.FoundByFallback, sbom, "")},
		},
		"by the fallback tag from before the registry had the API, each once": {
			put: func(t *testing.T, srv *registrytest.Server) {
				addFallback(t, srv, "app", image.Digest, sbom, ofChild) // the registry does not list what is about another
			},
			want: []oci.FoundReferrer{foundAs(oci.FoundByAPI, sbom, ""), foundAs(oci.FoundByFallback, ofChild, "")},
		},
		"by cosign's tag": {
			o:    registrytest.Options{NoReferrers: true},
			put:  func(t *testing.T, srv *registrytest.Server) { addGraph(srv, "app", cosignTag, cosign) },
			want: []oci.FoundReferrer{foundAs(oci.FoundByTag, cosign, cosignTag)},
		},
		"by all of cosign's tags": {
			put: func(t *testing.T, srv *registrytest.Server) {
				for _, tag := range oci.CosignTags(image.Digest) {
					addGraph(srv, "app", tag, cosign)
				}
			},
			want: []oci.FoundReferrer{
				foundAs(oci.FoundByTag, cosign, strings.TrimSuffix(cosignTag, "sig")+"att"),
				foundAs(oci.FoundByTag, cosign, strings.TrimSuffix(cosignTag, "sig")+"sbom"),
				foundAs(oci.FoundByTag, cosign, cosignTag),
			},
		},
		"an image that has the form of a fallback tag for its tag": {
			put: func(t *testing.T, srv *registrytest.Server) {
				addGraph(srv, "app", oci.FallbackTag(image.Digest), image.Children[0])
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			addGraph(srv, "app", "v1", image)
			if test.put != nil {
				test.put(t, srv)
			}
			c, _ := newTestClient(t, srv, Options{})
			got, err := c.Referrers(t.Context(), repoOf(srv, "app"), image.Digest)
			checkErr(t, err, nil)
			slices.SortFunc(test.want, func(a, b oci.FoundReferrer) int {
				return strings.Compare(a.Descriptor.Digest.String()+a.Tag, b.Descriptor.Digest.String()+b.Tag)
			})
			if found(got) != found(test.want) {
				t.Errorf("found %s; want %s", found(got), found(test.want))
			}
		})
	}
}

// The requests for many images: one list of tags for each repository, and the API where there is one, which is found out
// once, however many ask at a time.
func TestReferrersRequests(t *testing.T) {
	const images = 100
	for name, test := range map[string]struct {
		o    registrytest.Options
		want map[string]int
	}{
		"with the API":    {want: map[string]int{"GET tags": 2, "GET referrers": images, " manifest": 0}},
		"without the API": {o: registrytest.Options{NoReferrers: true}, want: map[string]int{"GET tags": 2, "GET referrers": 1, " manifest": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			c, _ := newTestClient(t, srv, Options{})
			var wg sync.WaitGroup
			for i := range images {
				repo := fmt.Sprintf("app%d", i%2)
				srv.Tag(repo, fmt.Sprintf("v%d", i), digest.FromString(fmt.Sprint(i)))
				wg.Go(func() {
					if _, err := c.Referrers(t.Context(), repoOf(srv, repo), digest.FromString(fmt.Sprint(i))); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			checkCounts(t, srv, test.want)
		})
	}
}

// What belongs to 500 images of two platforms, some of which are signed, is found with a list of tags for each repository,
// and with the API with a question for each manifest; never with one for each tag that there could be.
func TestReferrersOf500Images(t *testing.T) {
	const images, repos, signed = 500, 10, 20
	for name, test := range map[string]struct {
		o   registrytest.Options
		api int
	}{
		"with the API":    {api: 3*images + signed}, // of each image its index and two manifests, and each signature
		"without the API": {o: registrytest.Options{NoReferrers: true}, api: 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			var refs []oci.Reference
			for i := range images {
				repo, image := fmt.Sprintf("app%d", i%repos), ocitest.MultiArch(1, fmt.Sprint(i))
				addGraph(srv, repo, fmt.Sprintf("v%d", i), image)
				refs = append(refs, oci.Reference{Repository: repoOf(srv, repo), Tag: fmt.Sprintf("v%d", i)})
				if i < signed {
					addGraph(srv, repo, ocitest.CosignTag(image), ocitest.CosignSignature(image))
				}
			}
			c, _ := newTestClient(t, srv, Options{})
			plan, err := oci.MakePlan(t.Context(), refs, c, c, nil, oci.PlanOptions{})
			checkErr(t, err, nil)
			srv.ResetCounts()
			checkErr(t, oci.FindReferrers(t.Context(), plan, c, c, nil, oci.FindOptions{}), nil)
			if n := plan.Size().Referrers; n != signed || len(plan.Failed()) > 0 {
				t.Errorf("%d referrers, want %d; %d images failed", n, signed, len(plan.Failed()))
			}
			checkCounts(t, srv, map[string]int{
				"GET tags": repos, "GET referrers": test.api, "HEAD manifest": signed, "GET manifest": signed, " blob": 0,
				" ": repos + test.api + 2*signed,
			})
		})
	}
}

func TestReferrersOfDockerHubAskNoAPI(t *testing.T) {
	w := newMirroredWorld(t)
	image := ocitest.MultiArch(1, "nginx")
	addGraph(w.origin, "library/nginx", "1.27", image)
	addGraph(w.origin, "library/nginx", ocitest.CosignTag(image), ocitest.CosignSignature(image))
	got, err := w.client(t, nil).Referrers(t.Context(), nginx, image.Digest)
	if err != nil || len(got) != 1 {
		t.Errorf("found %s; %v", found(got), err)
	}
	checkCounts(t, w.origin, map[string]int{" referrers": 0})
}

func TestReferrersThatCannotBeFound(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	api, tags := registrytest.Match{Kind: registrytest.Referrers}, registrytest.Match{Kind: registrytest.Tags}
	for name, test := range map[string]struct {
		match  registrytest.Match
		fault  registrytest.Fault
		fails  bool
		told   bool
		byAPI  bool
		byTags bool
	}{
		"the API is out of order":            {match: api, fault: registrytest.Status(500, "no"), fails: true},
		"the list is out of order":           {match: tags, fault: registrytest.Status(503, "no"), fails: true},
		"the list is cut":                    {match: tags, fault: registrytest.Cut(5), fails: true},
		"the API has another page":           {match: api, fault: registrytest.Status(200, "<html>"), byTags: true},
		"the API is not routed":              {match: api, fault: registrytest.Status(405, ""), byTags: true},
		"the API is denied":                  {match: api, fault: registrytest.Code(403, "DENIED", "no"), byTags: true, told: true},
		"the list is denied":                 {match: tags, fault: registrytest.Code(403, "DENIED", "no"), byAPI: true, told: true},
		"the registry has no list":           {match: tags, fault: registrytest.Code(404, "UNSUPPORTED", "no"), byAPI: true, told: true},
		"the API lists what is no blob":      {match: api, fault: registrytest.Status(200, `{"schemaVersion":2,"manifests":[{"digest":"x"}]}`), fails: true},
		"the API lists more than is carried": {match: api, fault: registrytest.Status(200, manyReferrers()), fails: true},
		"the API goes round in circles": {
			match: api, fails: true, fault: registrytest.Status(200, `{"schemaVersion":2,"manifests":[]}`, "Link", `</v2/x/referrers/y>; rel="next"`),
		},
		"the next page is on another host": {
			match: api, fails: true, fault: registrytest.Status(200, `{"schemaVersion":2,"manifests":[]}`, "Link", `<http://x.example/>; rel="next"`),
		},
		"the API writes null for none": {match: api, fault: registrytest.Status(200, `{"schemaVersion":2,"manifests":null}`), byTags: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{})
			addGraph(srv, "app", "v1", image)
			addGraph(srv, "app", "", sbom)
			addGraph(srv, "app", ocitest.CosignTag(image), ocitest.CosignSignature(image))
			srv.Fault(test.match, test.fault)
			told := 0
			c, _ := newTestClient(t, srv, Options{Events: func(e Event) {
				if e.Kind == EventNotListed {
					told++
				}
			}})
			for range 2 { // what is denied is told of once
				got, err := c.Referrers(t.Context(), repoOf(srv, "app"), image.Digest)
				if (err != nil) != test.fails {
					t.Fatalf("found %s; %v", found(got), err)
				}
				has := func(by oci.FoundBy) bool {
					return slices.ContainsFunc(got, func(r oci.FoundReferrer) bool { return r.Found == by })
				}
				if has(oci.FoundByAPI) != test.byAPI || has(oci.FoundByTag) != test.byTags {
					t.Errorf("found %s", found(got))
				}
			}
			if (told == 1) != test.told {
				t.Errorf("told %d times that something is not listed", told)
			}
		})
	}
}

// manyReferrers returns an index of one entry more than is taken.
func manyReferrers() string {
	var b strings.Builder
	b.WriteString(`{"schemaVersion":2,"manifests":[`)
	for i := range maxReferrers + 1 {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"digest":%q,"size":1}`, digest.FromString(fmt.Sprint(i)))
	}
	return b.String() + `]}`
}

// A mirror may know only what was pulled through it, so the registry is asked; but where it must not or cannot be asked
// the mirror is.
func TestReferrersByMirror(t *testing.T) {
	image := ocitest.MultiArch(1, "nginx")
	cosign := ocitest.CosignSignature(image)
	for name, test := range map[string]struct {
		change    func(*HostOptions)
		down      bool
		onMirror  bool
		want      int
		wantTells int
	}{
		"the registry is asked":             {want: 1},
		"mirrors alone":                     {change: func(o *HostOptions) { o.MirrorsOnly = true }, onMirror: true, want: 1},
		"mirrors alone, which have nothing": {change: func(o *HostOptions) { o.MirrorsOnly = true }},
		"mirrors alone, which give nothing but what has a digest": {
			change: func(o *HostOptions) { o.MirrorsOnly, o.Mirrors[0].NoResolve = true, true }, onMirror: true,
		},
		"the registry is not there, and the mirror has one": {down: true, onMirror: true, want: 1, wantTells: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMirroredWorld(t, registrytest.Options{})
			at, repo := w.origin, "library/nginx"
			if test.onMirror {
				at, repo = w.mirrors[0], "hub/library/nginx"
			}
			w.mirrors[0].Tag("hub/library/nginx", "1.27", image.Digest)
			addGraph(at, repo, "1.27", image)
			addGraph(at, repo, ocitest.CosignTag(image), cosign)
			c := w.client(t, test.change)
			if test.down {
				w.origin.Close()
			}
			for range 2 {
				got, err := c.Referrers(t.Context(), nginx, image.Digest)
				if err != nil || len(got) != test.want {
					t.Errorf("found %s; %v", found(got), err)
				}
			}
			tells := 0
			for _, e := range w.events {
				if e.Kind == EventAway {
					tells++
				}
			}
			if tells != test.wantTells {
				t.Errorf("told %d times that the registry is not there", tells)
			}
		})
	}
}

func TestAttach(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	signature := ocitest.Referrer(ocitest.SignatureType, image, "signature")
	tag := oci.FallbackTag(image.Digest)
	for name, test := range map[string]struct {
		o     registrytest.Options
		put   func(t *testing.T, srv *registrytest.Server)
		twice bool
		want  []digest.Digest // in the fallback index; nil when there is to be none
		puts  int
	}{
		"the registry has the API": {},
		"the registry has not": {
			o: registrytest.Options{NoReferrers: true}, want: []digest.Digest{sbom.Digest}, puts: 1,
		},
		"twice": {o: registrytest.Options{NoReferrers: true}, twice: true, want: []digest.Digest{sbom.Digest}, puts: 1},
		"there is an index, which is added to": {
			o:    registrytest.Options{NoReferrers: true},
			put:  func(t *testing.T, srv *registrytest.Server) { addFallback(t, srv, "app", image.Digest, signature) },
			want: []digest.Digest{signature.Digest, sbom.Digest}, puts: 1,
		},
		"there is an index that lists it": {
			o: registrytest.Options{NoReferrers: true},
			put: func(t *testing.T, srv *registrytest.Server) {
				addFallback(t, srv, "app", image.Digest, sbom, signature)
			},
			want: []digest.Digest{sbom.Digest, signature.Digest},
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			addGraph(srv, "app", "v1", image)
			addGraph(srv, "app", "", sbom)
			if test.put != nil {
				test.put(t, srv)
			}
			c, _ := newTestClient(t, srv, Options{})
			for i := range map[bool]int{false: 1, true: 2}[test.twice] {
				changed, err := c.Attach(t.Context(), repoOf(srv, "app"), sbom.Descriptor, sbom.Bytes)
				if want := test.puts == 1 && i == 0; err != nil || changed != want {
					t.Errorf("changed %t, want %t; %v", changed, want, err)
				}
			}
			checkCounts(t, srv, map[string]int{"PUT manifest": test.puts, "DELETE ": 0, "GET referrers": 1})
			if got := entriesOf(t, srv, "app", tag); !slices.Equal(got, test.want) {
				t.Errorf("the index lists %v, want %v", got, test.want)
			}
		})
	}
}

// entriesOf returns what the index lists that has the tag, nil when there is none.
func entriesOf(t *testing.T, srv *registrytest.Server, repo, tag string) []digest.Digest {
	t.Helper()
	d, raw, ok := srv.Manifest(repo, tag)
	if !ok {
		return nil
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	checkErr(t, err, nil)
	var list []digest.Digest
	for _, entry := range m.Manifests {
		list = append(list, entry.Digest)
	}
	return list
}

// What an older index says beside what is added stays: fields that ferry does not know, and annotations.
func TestAttachKeepsWhatAnIndexSays(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom <1>")
	srv := registrytest.New(t, registrytest.Options{NoReferrers: true, Sparse: true})
	old := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","x":{"y":1.50},"annotations":{"a":"<b>"},` +
		`"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + image.Digest.String() + `","size":7,"x":"é"}]}`
	d := srv.AddManifest("app", ocispec.MediaTypeImageIndex, []byte(old))
	srv.Tag("app", oci.FallbackTag(image.Digest), d.Digest)
	addGraph(srv, "app", "", sbom)
	c, _ := newTestClient(t, srv, Options{})
	_, err := c.Attach(t.Context(), repoOf(srv, "app"), sbom.Descriptor, sbom.Bytes)
	checkErr(t, err, nil)
	_, raw, _ := srv.Manifest("app", oci.FallbackTag(image.Digest))
	for _, part := range []string{
		`"x":{"y":1.50}`, `"a":"<b>"`, `"size":7,"x":"é"`, `"artifactType":"` + ocitest.SBOMType + `"`,
		`"org.opencontainers.image.created"`,
	} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("no %s in %s", part, raw)
		}
	}
}

// Many that are about one manifest come at a time, and none is lost.
func TestAttachMany(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	srv := registrytest.New(t, registrytest.Options{NoReferrers: true})
	c, _ := newTestClient(t, srv, Options{})
	var wg sync.WaitGroup
	var want []digest.Digest
	for i := range 20 {
		g := ocitest.Referrer(ocitest.SBOMType, image, fmt.Sprint(i))
		addGraph(srv, "app", "", g)
		want = append(want, g.Digest)
		wg.Go(func() {
			if _, err := c.Attach(t.Context(), repoOf(srv, "app"), g.Descriptor, g.Bytes); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := entriesOf(t, srv, "app", oci.FallbackTag(image.Digest))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d are listed, want %d", len(got), len(want))
	}
}

func TestAttachRefusals(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	t.Run("an image has the fallback tag", func(t *testing.T) {
		srv := registrytest.New(t, registrytest.Options{NoReferrers: true})
		addGraph(srv, "app", "", sbom)
		addGraph(srv, "app", oci.FallbackTag(image.Digest), image.Children[0])
		c, _ := newTestClient(t, srv, Options{})
		_, err := c.Attach(t.Context(), repoOf(srv, "app"), sbom.Descriptor, sbom.Bytes)
		if err == nil || !strings.Contains(err.Error(), "no list of referrers") {
			t.Errorf("got %v", err)
		}
		checkCounts(t, srv, map[string]int{"PUT ": 0})
	})
	t.Run("the registry does not tell whether it has the API", func(t *testing.T) {
		srv := registrytest.New(t, registrytest.Options{NoReferrers: true})
		srv.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Status(http.StatusInternalServerError, ""))
		addGraph(srv, "app", "", sbom)
		c, _ := newTestClient(t, srv, Options{})
		if _, err := c.Attach(t.Context(), repoOf(srv, "app"), sbom.Descriptor, sbom.Bytes); err == nil {
			t.Error("no error")
		}
	})
}

// A registry that says OCI-Subject when it gets the manifest is asked nothing.
func TestAttachAfterPushAsksNothing(t *testing.T) {
	image := ocitest.MultiArch(1, "app")
	sbom := ocitest.Referrer(ocitest.SBOMType, image, "sbom")
	srv := registrytest.New(t, registrytest.Options{})
	addGraph(srv, "app", "", sbom)
	c, _ := newTestClient(t, srv, Options{})
	to := repoOf(srv, "app")
	checkErr(t, c.Tag(t.Context(), to, "x", sbom.Descriptor, sbom.Bytes), nil)
	_, err := c.Attach(t.Context(), to, sbom.Descriptor, sbom.Bytes)
	checkErr(t, err, nil)
	checkCounts(t, srv, map[string]int{"GET ": 0, "HEAD ": 0, "PUT manifest": 1})
}
