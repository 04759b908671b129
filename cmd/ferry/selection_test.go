package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestSelectTags(t *testing.T) {
	for tag, test := range map[string]struct{ takes, leaves []string }{
		"v1.*":        {[]string{"v1.0", "v1.27.3-rc1"}, []string{"v2.0", "1.0", "xv1.0"}},
		"1.2?":        {[]string{"1.27"}, []string{"1.2", "1.275"}},
		">=1.2 <2":    {[]string{"1.2", "v1.9.9", "1.2.0", "1.4_build7"}, []string{"1.1.9", "2", "2.0.0", "latest", "1.9-alpine", "1.2.3.4"}},
		">=1.2, <2":   {[]string{"1.3"}, []string{"2.1"}},
		">=1.27-0":    {[]string{"1.27-alpine", "1.27", "1.28.0-rc.1"}, []string{"1.26-alpine"}},
		"~1.4":        {[]string{"1.4", "v1.4.9"}, []string{"1.5", "1.3.9"}},
		"^1":          {[]string{"1", "1.99"}, []string{"2", "0.9"}},
		"~1.4 || ^3":  {[]string{"1.4.2", "v3.9"}, []string{"2"}},
		"!=1.2, ^1.0": {[]string{"1.3"}, []string{"1.2"}},
	} {
		s, err := selection{Tags: []string{tag}}.compile(time.Time{})
		if err != nil {
			t.Errorf("%s: %v", tag, err)
			continue
		}
		for _, name := range test.takes {
			if !s.tag(name) {
				t.Errorf("%q does not take %q", tag, name)
			}
		}
		for _, name := range test.leaves {
			if s.tag(name) {
				t.Errorf("%q takes %q", tag, name)
			}
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-01-01": "2026-01-01T00:00:00Z", "2026-01-01T10:00:00+02:00": "2026-01-01T08:00:00Z",
		"30d": "2026-10-24T12:00:00Z", "12h": "2026-11-23T00:00:00Z", "2w": "2026-11-09T12:00:00Z", "0d": "2026-11-23T12:00:00Z",
		"d": "", "-1d": "", "1.5d": "", "yesterday": "", "2026": "", "99999999999d": "", "876001h": "", "9223372036854775807w": "",
	} {
		at, err := parseSince(text, now)
		var usage *usageError
		switch {
		case want == "" && !errors.As(err, &usage):
			t.Errorf("%q: got %v, %v, want a usage error", text, at, err)
		case want != "" && (err != nil || at.UTC().Format(time.RFC3339) != want):
			t.Errorf("%q: got %v, %v, want %s", text, at, err, want)
		}
	}
}

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]string{
		"harbor.example": "harbor.example/", "harbor.example/k8s/a": "harbor.example/k8s/a", "localhost:5000/": "localhost:5000/",
		"docker.io/nginx": "docker.io/library/nginx", "docker.io/bitnami/nginx": "docker.io/bitnami/nginx",
		"nginx": "", "": "", "https://harbor.example": "", "harbor.example/K8s": "", "harbor.example/a:v1": "", "u:p@harbor.example": "",
	} {
		place, err := parsePlace(text)
		var usage *usageError
		switch {
		case want == "" && !errors.As(err, &usage):
			t.Errorf("%q: got %v, %v, want a usage error", text, place, err)
		case want != "" && (err != nil || place.Host+"/"+place.Path != want):
			t.Errorf("%q: got %v, %v, want %s", text, place, err, want)
		}
	}
}

// A registry of 6,000 repositories, one of which has 2,000 tags, is listed with one request for each repository and
// each page.
func TestListOfALargeRegistry(t *testing.T) {
	srv := registrytest.New(t, registrytest.Options{MaxPage: 1000})
	for i := range 6000 {
		srv.Tag(fmt.Sprintf("p%d/app-%d", i%50, i), "v1", digest.FromString("x"))
	}
	for i := range 2000 {
		srv.Tag("p7/app-7", fmt.Sprintf("v1.0.%d", i), digest.FromString("x"))
	}
	var out strings.Builder
	std := &stdio{Out: &out, Err: io.Discard, Now: time.Now, Getenv: func(string) string { return "" }}
	if code := run([]string{"list", srv.Host()}, std); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	refs, err := oci.ParseList("list", strings.NewReader(out.String()))
	if err != nil || len(refs) != 8000 {
		t.Errorf("%d images, %v", len(refs), err)
	}
	if n := srv.Count("GET", registrytest.Tags); n != 6000+2 {
		t.Errorf("%d requests for tags", n)
	}
	if n := srv.Count("GET", registrytest.Catalog); n != 6 {
		t.Errorf("%d requests for the catalog", n)
	}
}
