package oci_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
)

// BenchmarkStorePush takes 150 blobs of 4 MiB over 8 goroutines, the shape of a pack of twenty images, and says what
// the sync at the end adds.
func BenchmarkStorePush(b *testing.B) {
	for _, bench := range []struct {
		name string
		end  func(*oci.Store) error
	}{
		{"removed", (*oci.Store).Remove},
		{"synced", (*oci.Store).Close},
	} {
		b.Run(bench.name, func(b *testing.B) { benchmarkStore(b, 150, 4<<20, bench.end) })
	}
}

func benchmarkStore(b *testing.B, blobs, size int, end func(*oci.Store) error) {
	rnd := rand.NewChaCha8([32]byte{})
	raws := make([][]byte, blobs)
	ds := make([]oci.Descriptor, blobs)
	for i := range raws {
		raws[i] = make([]byte, size)
		_, _ = rnd.Read(raws[i])
		ds[i] = oci.Descriptor{Digest: digest.FromBytes(raws[i]), Size: int64(size)}
	}
	b.SetBytes(int64(blobs * size))
	for b.Loop() {
		s, err := oci.OpenStore(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		var g errgroup.Group
		g.SetLimit(8)
		for i, raw := range raws {
			g.Go(func() error {
				open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(raw[offset:])), nil
				}
				return s.Push(context.Background(), oci.Repository{}, ds[i], open)
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		if err := end(s); err != nil {
			b.Fatal(err)
		}
	}
}
