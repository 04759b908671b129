package main

import (
	"bytes"
	"strings"
	"testing"
)

// What is known of the registries of a backup is told.
func TestInspectBackup(t *testing.T) {
	var out bytes.Buffer
	std := &stdio{Out: &out, Err: &out}
	if err := runInspect(t.Context(), inspectOptions{Bundles: []string{"../../testdata/bundles/v1-sources.tar.zst"}}, std); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "label site=north\n")
	want := `backup of quay.io/a as of 2026-11-23T11:00:00Z: 2 images in 1 repository, with --project 'a*' --repo 'a/*' --tag '<2' --tag 'v?' --since '2026-01-31T00:00:00Z' --digests
gone quay.io/a/app:0: deleted after it was listed
left out hub: a cache of another registry
backup of registry.k8s.io as of 2026-01-31T00:00:00Z: 1 image in 1 repository
project quay.io/a: public, quota 10.7 GB, retention, immutable tags, labels
project quay.io/b: private
missing docker.io/library/gone:1: not found
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
