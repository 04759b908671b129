package registry

import (
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestEnds(t *testing.T) {
	for name, o := range map[string]registrytest.Options{
		"plain": {}, "TLS": {TLS: true}, "ranges ignored": {IgnoreRange: true}, "redirected": {RedirectBlobs: true},
		"token": {Auth: registrytest.Bearer, Username: testUser, Password: testPassword},
	} {
		t.Run(name, func(t *testing.T) {
			ocitest.TestEndsAt(t, func(t *testing.T) (oci.Source, oci.Sink, oci.Repository) {
				srv := registrytest.New(t, o)
				c, _ := newTestClient(t, srv, Options{})
				return c, c, repoOf(srv, "suite/image")
			})
		})
	}
}
