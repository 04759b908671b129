package registry

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

const benchSize = 64 << 20

// BenchmarkPull reads a blob over loopback and proves its digest.
func BenchmarkPull(b *testing.B) {
	for name, o := range map[string]registrytest.Options{"http": {}, "https": {TLS: true}} {
		b.Run(name, func(b *testing.B) {
			srv := registrytest.New(b, o)
			raw, d := content(benchSize)
			srv.AddBlob("a/b", raw)
			c, _ := newTestClient(b, srv, Options{})
			b.SetBytes(benchSize)
			for b.Loop() {
				r, err := c.Open(context.Background(), repoOf(srv, "a/b"), d, 0)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, oci.Verify(r, d)); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}

// BenchmarkPush sends a blob over loopback, hashed on both sides.
func BenchmarkPush(b *testing.B) {
	for name, o := range map[string]registrytest.Options{"http": {}, "https": {TLS: true}} {
		b.Run(name, func(b *testing.B) {
			srv := registrytest.New(b, o)
			raw, d := content(benchSize)
			c, _ := newTestClient(b, srv, Options{})
			open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(raw[offset:])), nil
			}
			b.SetBytes(benchSize)
			for b.Loop() {
				if err := c.Push(context.Background(), repoOf(srv, "a/b"), d, open); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
