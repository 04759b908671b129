package registry

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

func TestForeignLayer(t *testing.T) {
	raw, d := content(50_000)
	for name, test := range map[string]struct {
		has     bool // the registry has the layer
		urls    func(srv *registrytest.Server) []string
		fault   registrytest.Fault // of the server that the URL names
		storage int                // requests there
		says    string             // the error; empty is none
	}{
		"the registry has it": {has: true, urls: foreignURL, storage: 0},
		"the URL has it":      {urls: foreignURL, storage: 1},
		"the second URL has it": {
			urls:    func(srv *registrytest.Server) []string { return append([]string{"ftp://x/y"}, foreignURL(srv)...) },
			storage: 1,
		},
		"the connection to the URL is cut": {urls: foreignURL, fault: registrytest.Cut(20_000), storage: 2},
		"nobody has it": {
			urls: func(srv *registrytest.Server) []string {
				return []string{"http://" + srv.StorageHost() + "/v2/nobody/blobs/" + d.Digest.String()}
			},
			storage: 1, says: "at its URL: GET http://",
		},
		"an address of the cloud's own services": {
			urls: func(*registrytest.Server) []string { return []string{"http://169.254.169.254/latest"} }, says: "must not name",
		},
		"a password in it": {
			urls: func(*registrytest.Server) []string { return []string{"http://u:p@x/y"} }, says: "no address of a web server",
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.New(t, registrytest.Options{Auth: registrytest.Basic, Username: testUser, Password: testPassword})
			srv.AddBlob("foreign", raw)
			if test.has {
				srv.AddBlob("windows", raw)
			}
			if test.fault != nil {
				srv.Fault(registrytest.Match{Kind: registrytest.Storage, Times: 1}, test.fault)
			}
			c, _ := newTestClient(t, srv, Options{})
			layer := d
			layer.URLs = test.urls(srv)
			got, err := readBlob(t, c, repoOf(srv, "windows"), layer)
			switch {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says == "" && !slices.Equal(got, raw):
				t.Error("other bytes came")
			case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
				t.Errorf("got %v", err)
			case test.says != "":
				checkErr(t, err, oci.ErrNotFound)
			}
			checkCounts(t, srv, map[string]int{" storage": test.storage})
			for _, q := range srv.Requests() {
				if q.Kind == registrytest.Storage && q.Authorization != "" {
					t.Error("a credential went to the URL")
				}
			}
		})
	}
}

func foreignURL(srv *registrytest.Server) []string {
	_, d := content(50_000)
	return []string{"http://" + srv.StorageHost() + "/v2/foreign/blobs/" + d.Digest.String()}
}

func readBlob(t *testing.T, c *Client, from oci.Repository, d oci.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := c.Open(t.Context(), from, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(oci.Verify(r, d))
}
