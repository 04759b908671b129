package oci_test

import (
	"errors"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

func TestChooseImage(t *testing.T) {
	imageFor := func(os, arch, variant string) *ocitest.Graph {
		return ocitest.Image(oci.Platform{OS: os, Architecture: arch, Variant: variant}, ocitest.RandomLayer(uint64(len(variant)), 100))
	}
	amd64, v3, v6, v7 := imageFor("linux", "amd64", ""), imageFor("linux", "amd64", "v3"), imageFor("linux", "arm", "v6"), imageFor("linux", "arm", "v7")
	arm64 := imageFor("linux", "arm64", "v8")
	whole := ocitest.Index(v3, amd64, v6, v7, arm64)
	typed := amd64.Node()
	typed.ConfigPlatform = amd64.Platform
	for _, tc := range []struct {
		name string
		root *oci.Node
		want string
		is   *ocitest.Graph // nil: an error
		err  error
	}{
		{"usual variant behind another", whole.Node(), "linux/amd64", amd64, nil},
		{"usual variant of arm", whole.Node(), "linux/arm", v7, nil},
		{"variant asked for", whole.Node(), "linux/arm/v6", v6, nil},
		{"another variant when there is no usual one", ocitest.Index(v6, arm64).Node(), "linux/arm", v6, nil},
		{"nested", ocitest.Index(ocitest.Index(arm64), v7).Node(), "linux/arm64", arm64, nil},
		{"lacks it", whole.Node(), "linux/s390x", nil, oci.ErrNotFound},
		{"no index, known", typed, "linux/amd64", amd64, nil},
		{"no index, of another", typed, "linux/arm64", nil, oci.ErrNotFound},
		{"no index, not known", amd64.Node(), "linux/arm64", amd64, nil},
		{"artifact", ocitest.Artifact(ocitest.SBOMType, nil).Node(), "linux/amd64", nil, oci.ErrUnsupported},
	} {
		p, err := oci.ParsePlatform(tc.want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := oci.ChooseImage(tc.root, p)
		switch {
		case tc.is == nil:
			if !errors.Is(err, tc.err) {
				t.Errorf("%s: error %v, want %v", tc.name, err, tc.err)
			}
		case err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case got.Digest != tc.is.Digest:
			t.Errorf("%s: got the image for %v", tc.name, got.Platform)
		}
	}
}
