package main

import (
	"testing"

	"github.com/ferry-oci/ferry/oci"
)

func TestImageFilter(t *testing.T) {
	for _, c := range []struct {
		pattern, image string
		want           bool
	}{
		{"nginx", "docker.io/library/nginx:1.27", true},
		{"nginx:1.27", "docker.io/library/nginx:1.27", true},
		{"nginx:1.*", "docker.io/library/nginx:1.27", true},
		{"library/nginx", "docker.io/library/nginx:1.27", true},
		{"docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27", true},
		{"nginx:1.2", "docker.io/library/nginx:1.27", false},
		{"ngin", "docker.io/library/nginx:1.27", false},
		{"nginx:1.2?", "docker.io/library/nginx:1.27", true},
		{"*", "quay.io/a/b/c:v1", true},
		{"quay.io/*", "quay.io/a/b/c:v1", true},
		{"a/*", "quay.io/a/b/c:v1", true},
		{"quay.io/*", "docker.io/library/quay.io/a:v1", false},
		{"nginx", "quay.io/library/nginx:1.27", false},
		{"a.b", "quay.io/axb:v1", false},
		{"[", "quay.io/a:v1", false},
		{"quay.io/a", "quay.io/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true},
		{"quay.io/a@sha256:e3b0*", "quay.io/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true},
	} {
		t.Run(c.pattern+" "+c.image, func(t *testing.T) {
			ref, err := oci.ParseReference(c.image)
			if err != nil {
				t.Fatal(err)
			}
			used := make([]bool, 1)
			if got := newImageFilter([]string{c.pattern}).match(ref, used); got != c.want || used[0] != c.want {
				t.Errorf("match %v, used %v, want %v", got, used[0], c.want)
			}
		})
	}
}
