package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// addTags gives a repository n tags, and returns them in the order of a list.
func addTags(srv *registrytest.Server, repo string, n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("v1.0.%d", i)
		srv.Tag(repo, tags[i], digest.FromString(tags[i]))
	}
	slices.Sort(tags)
	return tags
}

func TestTagsOfManyPages(t *testing.T) {
	for name, test := range map[string]struct {
		o    registrytest.Options
		tags int
		gets int
	}{
		"all in one page":                       {tags: 999, gets: 1},
		"pages of 1000":                         {tags: 2500, gets: 3},
		"a page that is full to the brim":       {tags: 1000, gets: 1},
		"1000 a page refused, then 100":         {o: registrytest.Options{MaxPage: 100}, tags: 250, gets: 1 + 3},
		"100 a page refused too":                {o: registrytest.Options{MaxPage: 7}, tags: 20, gets: 2 + 3},
		"last= refused, tokens instead":         {o: registrytest.Options{PageLinks: registrytest.PageTokens}, tags: 2500, gets: 3},
		"links with http from a host of https":  {o: registrytest.Options{PageLinks: registrytest.PlainHTTP, TLS: true}, tags: 2500, gets: 3},
		"basic auth":                            {o: registrytest.Options{Auth: registrytest.Basic}, tags: 1500, gets: 1 + 2},
		"a token, asked for once for all pages": {o: registrytest.Options{Auth: registrytest.Bearer}, tags: 2500, gets: 1 + 3},
		"a token that runs out between pages":   {o: registrytest.Options{Auth: registrytest.Bearer, TokenUses: 1}, tags: 1500, gets: 1 + 1 + 1 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			test.o.Username, test.o.Password = testUser, testPassword
			srv := registrytest.New(t, test.o)
			want := addTags(srv, "k8s/pause", test.tags)
			c, _ := newTestClient(t, srv, Options{})
			got, err := c.Tags(t.Context(), repoOf(srv, "k8s/pause"))
			checkErr(t, err, nil)
			if !slices.Equal(got, want) {
				t.Errorf("got %d tags, want %d", len(got), len(want))
			}
			checkCounts(t, srv, map[string]int{"GET tags": test.gets})
		})
	}
}

func TestCatalog(t *testing.T) {
	for name, test := range map[string]struct {
		o    registrytest.Options
		err  error
		text string
	}{
		"open":                           {},
		"basic":                          {o: registrytest.Options{Auth: registrytest.Basic}},
		"token with the catalog's right": {o: registrytest.Options{Auth: registrytest.Bearer}},
		"basic for the catalog, tokens for the rest": {
			o: registrytest.Options{Auth: registrytest.Bearer, CatalogBasic: true},
		},
		"no right to it": {
			o: registrytest.Options{
				Auth: registrytest.Bearer, Grant: func(_, action string) bool { return action == "pull" },
			},
			err: oci.ErrDenied, text: "catalog of 127.0.0.1",
		},
		"none there": {o: registrytest.Options{NoCatalog: true}, err: ErrNoCatalog},
	} {
		t.Run(name, func(t *testing.T) {
			test.o.Username, test.o.Password, test.o.MaxPage = testUser, testPassword, 100
			srv := registrytest.New(t, test.o)
			var want []string
			for i := range 250 {
				path := fmt.Sprintf("project-%d/sub/image", i)
				srv.Tag(path, "v1", digest.FromString(path))
				want = append(want, path)
			}
			slices.Sort(want)
			c, _ := newTestClient(t, srv, Options{})
			got, err := c.Catalog(t.Context(), srv.Host())
			checkErr(t, err, test.err, test.text)
			if err == nil && !slices.Equal(got, want) {
				t.Errorf("got %d repositories, want %d", len(got), len(want))
			}
			// The same client must be able to read a repository now, with whatever that needs.
			if _, err := c.Tags(t.Context(), repoOf(srv, "project-0/sub/image")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCatalogOfRegistriesWithout(t *testing.T) {
	c, _ := newTestClient(t, registrytest.New(t, registrytest.Options{}), Options{
		Host: func(host string) HostOptions { t.Errorf("%s was asked", host); return HostOptions{} },
	})
	for _, host := range []string{
		"docker.io", "ghcr.io", "public.ecr.aws", "europe-docker.pkg.dev",
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
	} {
		_, err := c.Catalog(t.Context(), host)
		checkErr(t, err, ErrNoCatalog, host)
	}
}

func TestListsThatAreRefused(t *testing.T) {
	list := registrytest.Match{Kind: registrytest.Tags}
	for name, test := range map[string]struct {
		o     registrytest.Options
		tags  int
		fault registrytest.Fault
		err   error
		text  string
	}{
		"the next page on another host": {
			o: registrytest.Options{PageLinks: registrytest.Elsewhere}, tags: 1500, text: "which is another host than",
		},
		"pages in a circle": {
			o: registrytest.Options{PageLinks: registrytest.InCircles}, tags: 10, text: "goes round in circles",
		},
		"no repository": {err: oci.ErrNotFound, text: "no such repository"},
		"no JSON":       {fault: registrytest.Status(200, "<html>"), err: oci.ErrUnsupported, text: "is this a registry?"},
		"tags of another kind": {
			fault: registrytest.Status(200, `{"tags":{"a":1}}`), err: oci.ErrUnsupported, text: `"tags" of the answer`,
		},
		"a tag that is none":         {fault: registrytest.Status(200, `{"tags":["v1","a b\u001b[2J"]}`), text: `a b[2J`},
		"a tag that is a digest too": {fault: registrytest.Status(200, `{"tags":["v1@sha256:00"]}`), text: "no name for an image"},
		"a page without end": {
			fault: registrytest.Status(200, `{"tags":["`+strings.Repeat("x", maxListPage)+`"]}`), text: "an answer of more than",
		},
		"denied": {fault: registrytest.Code(403, "DENIED", "not yours"), err: oci.ErrDenied, text: "not yours"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, test.o)
			addTags(srv, "r", test.tags)
			if test.fault != nil {
				srv.Fault(list, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{})
			tags, err := c.Tags(t.Context(), repoOf(srv, "r"))
			if err == nil {
				t.Fatalf("got %d tags and no error", len(tags))
			}
			checkErr(t, err, cmp.Or(test.err, err), test.text, "tags of "+srv.Host()+"/r")
			if n := srv.Count("", registrytest.Storage); n != 0 {
				t.Errorf("%d requests to the other host", n)
			}
		})
	}
}

// A repository whose tags are null has none; that is how CNCF distribution writes it.
func TestTagsNone(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	srv.Fault(registrytest.Match{Kind: registrytest.Tags}, registrytest.Status(200, `{"name":"r","tags":null}`))
	c, _ := newTestClient(t, srv, Options{})
	if tags, err := c.Tags(t.Context(), repoOf(srv, "r")); err != nil || len(tags) != 0 {
		t.Errorf("got %q, %v", tags, err)
	}
}

func TestListsAreReadOnce(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	addTags(srv, "r", 1500)
	c, _ := newTestClient(t, srv, Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if tags, err := c.Tags(t.Context(), repoOf(srv, "r")); err != nil || len(tags) != 1500 {
				t.Errorf("got %d tags, %v", len(tags), err)
			}
			if _, err := c.Tags(t.Context(), repoOf(srv, "none")); !errors.Is(err, oci.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	checkCounts(t, srv, map[string]int{"GET tags": 2 + 1})
}

// What failed on the way is no answer, so the next caller asks again; and who has given up does not make the others.
func TestListsThatFailedAreReadAgain(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	want := addTags(srv, "r", 10)
	c, _ := newTestClient(t, srv, Options{Retries: -1})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Tags(canceled, repoOf(srv, "r")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	srv.Fault(registrytest.Match{Kind: registrytest.Tags, Times: 1}, registrytest.Status(http.StatusInternalServerError, ""))
	if _, err := c.Tags(t.Context(), repoOf(srv, "r")); err == nil {
		t.Error("an answer of 500 is no list")
	}
	got, err := c.Tags(t.Context(), repoOf(srv, "r"))
	if checkErr(t, err, nil); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A page whose body is cut is asked for again, and by the link that led to it.
func TestListPageIsCut(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{})
	want := addTags(srv, "r", 2500)
	srv.Fault(registrytest.Match{Kind: registrytest.Tags, Times: 2}, registrytest.Cut(100))
	c, _ := newTestClient(t, srv, Options{})
	got, err := c.Tags(t.Context(), repoOf(srv, "r"))
	if checkErr(t, err, nil); !slices.Equal(got, want) {
		t.Errorf("got %d tags, want %d", len(got), len(want))
	}
	checkCounts(t, srv, map[string]int{"GET tags": 3 + 2})
}

func TestNextLink(t *testing.T) {
	for name, test := range map[string]struct {
		headers []string
		want    string
	}{
		"none":                            {},
		"plain":                           {[]string{`</v2/_catalog?last=a&n=1>; rel="next"`}, "/v2/_catalog?last=a&n=1"},
		"no quotes":                       {[]string{`</x>; rel=next`}, "/x"},
		"no space":                        {[]string{`</x>;rel="next"`}, "/x"},
		"upper case":                      {[]string{`</x>; REL="Next"`}, "/x"},
		"previous first":                  {[]string{`</a?q=name=~r,b;c>; rel="prev", </b>; rel="next"`}, "/b"},
		"previous first, two headers":     {[]string{`</a>; rel="prev"`, `</b>; rel="next"`}, "/b"},
		"previous alone":                  {[]string{`</a>; rel="prev"`}, ""},
		"several relations":               {[]string{`</a>; rel="last next"`}, "/a"},
		"parameters with signs in quotes": {[]string{`</a>; title="a, <b>; rel=next"; rel="next"`}, "/a"},
		"comma and angle in the target":   {[]string{`</a?x=1,2>; rel="next"`}, "/a?x=1,2"},
		"no end":                          {[]string{`</a; rel="next"`}, ""},
	} {
		if got, ok := nextLink(test.headers); got != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
