package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
	"github.com/ferry-oci/ferry/registry/server"
)

// served is a server of a compact bundle with one image.
type served struct {
	url   string
	image *ocitest.Graph
}

// Many clients pull at once, want ranges, and go away, while one layer is made at a time.
func TestServeCompactToMany(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	dir := t.TempDir()
	r := registrytest.New(t, registrytest.Options{})
	s := &story{registries: map[string]*registrytest.Server{"S": r}}
	if err := s.push(nil, []string{"S", "compact/fine:1", "fine"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "c.tar.zst")
	(&mergeFixture{t: t}).ferry("pack", "--compact", "-o", path, r.Host()+"/compact/fine:1")
	for _, cache := range []string{"", filepath.Join(dir, "cache")} {
		t.Run(fmt.Sprintf("cache %v", cache != ""), func(t *testing.T) {
			var said bytes.Buffer
			std := &stdio{Err: &said, Now: time.Now}
			o := serveOptions{Bundles: []string{path}, Making: makingOptions{Recreate: 1, Cache: cache}}
			shelves, err := openShelves(t.Context(), &o, std)
			if err != nil {
				t.Fatal(err)
			}
			defer shelves.close()
			log := func(r server.Request) {
				if r.Err != nil {
					t.Errorf("%s %s: %v", r.Method, r.Target, r.Err)
				}
			}
			at := httptest.NewServer(server.New(shelves.list, server.Options{Log: log}))
			defer at.Close()
			of := served{at.URL, fineLayers()}
			var clients sync.WaitGroup
			for i := range 24 {
				random := rand.New(rand.NewPCG(1, uint64(i)))
				clients.Go(func() { of.pull(t, random) })
			}
			clients.Wait()
		})
	}
}

// pull asks for each blob in some order: for all of it, for a part, or for all while it goes away.
func (s served) pull(t *testing.T, random *rand.Rand) {
	blobs := slices.DeleteFunc(s.image.All(), func(b ocitest.Blob) bool { return oci.IsManifest(b.MediaType) })
	for _, i := range random.Perm(len(blobs)) {
		b := blobs[i]
		offset, leaves := 0, random.IntN(3) == 0
		if random.IntN(2) == 0 {
			offset = random.IntN(len(b.Bytes))
		}
		got, err := s.get(t.Context(), b.Descriptor, offset, leaves)
		if err != nil || !leaves && !bytes.Equal(got, b.Bytes[offset:]) {
			t.Errorf("%s from %d: %d bytes, %v", b.Digest, offset, len(got), err)
		}
	}
}

// get asks for a blob from offset on, and goes away after the first byte if it leaves.
func (s served) get(ctx context.Context, d oci.Descriptor, offset int, leaves bool) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v2/compact/fine/blobs/"+d.Digest.String(), nil)
	if err != nil {
		return nil, err
	}
	want := http.StatusOK
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		want = http.StatusPartialContent
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return nil, errors.New(resp.Status)
	}
	if leaves {
		_, err := io.ReadFull(resp.Body, make([]byte, 1))
		return nil, err
	}
	return io.ReadAll(resp.Body)
}
