package registry

import (
	"context"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// An image goes to two registries at a time. What befalls the upload to one of them does not touch the other, which gets
// each blob in one request.
func TestCopyToTwoRegistries(t *testing.T) {
	raw, _ := hugeContent()
	layer := ocitest.NewBlob("application/vnd.oci.image.layer.v1.tar+gzip", raw)
	g := ocitest.Image(ocitest.AMD64, layer)
	put := registrytest.Match{Method: "PUT", Kind: registrytest.Upload, Times: 1}
	for name, test := range map[string]struct {
		o     registrytest.Options
		match registrytest.Match
		fault registrytest.Fault
		fails bool
		once  bool // the source gives the layer once
	}{
		"no trouble":                   {once: true},
		"cut in mid-blob":              {match: put, fault: registrytest.CutUpload(5 << 20)},
		"cut, and the session is gone": {o: registrytest.Options{ForgetUploads: true}, match: put, fault: registrytest.CutUpload(5 << 20)},
		"cut before the first byte":    {match: put, fault: registrytest.Drop(false)},
		"takes small pieces only":      {o: registrytest.Options{MaxBody: 2 << 20}},
		"refuses what it got": {
			match: registrytest.Match{Method: "PUT", Kind: registrytest.Upload},
			fault: registrytest.Code(403, "DENIED", "quota exceeded"), fails: true,
		},
		"refuses the session": {
			match: registrytest.Match{Method: "POST", Kind: registrytest.Upload},
			fault: registrytest.Code(403, "DENIED", "you may not write here"), fails: true, once: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, a, b := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{}), registrytest.New(t, test.o)
			for _, blob := range g.Blobs {
				src.AddBlob("app", blob.Bytes)
			}
			if test.fault != nil {
				b.Fault(test.match, test.fault)
			}
			from, _ := newTestClient(t, src, Options{})
			to, _ := newTestClient(t, a, Options{})
			r, err := oci.Copy(context.Background(), from, to, []oci.Job{{
				Name: "app", Root: g.Node(), From: []oci.Repository{repoOf(src, "app")},
				To: []oci.Target{{Repository: repoOf(a, "app"), Tag: "v1"}, {Repository: repoOf(b, "app"), Tag: "v1"}},
			}}, oci.CopyOptions{Patience: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			checkErr(t, r.Outcomes[0].Err, nil)
			if failed := r.Outcomes[1].Err != nil; failed != test.fails {
				t.Errorf("the other target: error %v", r.Outcomes[1].Err)
			}
			for _, srv := range []*registrytest.Server{a, b} {
				if got := srv.Tags("app")["v1"]; got != g.Digest && (srv == a || !test.fails) {
					t.Errorf("%s: the tag names %q", srv.Host(), got)
				}
			}
			checkCounts(t, a, map[string]int{"POST upload": 2, "PUT upload": 2, "PATCH upload": 0})
			if sent := src.BytesSent(layer.Digest); test.once && sent != layer.Size || sent > 2*layer.Size {
				t.Errorf("the source sent %d bytes of %d", sent, layer.Size)
			}
		})
	}
}
