package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// In a compact bundle with a long frame one blob is made at a time.
func TestTurns(t *testing.T) {
	raw := compactFixture(t, 3<<20).writeAll(compress.WriterOptions{Format: compress.Zstd, Level: compress.Fastest})
	o := Options{Reader: compress.ReaderOptions{LongDecoders: 1}, Turns: NewTurns(1)}
	b, err := Open(t.Context(), bytes.NewReader(raw), int64(len(raw)), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("one after the other", func(t *testing.T) { testTurns(t, b) })
	t.Run("of many", func(t *testing.T) { testTurnsOfMany(t, b) })
}

func testTurns(t *testing.T, b *Bundle) {
	h := b.Head()
	first := h.Recreated[0].Descriptor()
	r, err := b.Open(t.Context(), oci.Repository{}, first, 0)
	if err != nil {
		t.Fatal(err)
	}
	tarAt := slices.IndexFunc(h.Members, func(m Member) bool { return b.inLongFrame(m) })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, d := range map[string]oci.Descriptor{
		"another blob that is re-created": h.Recreated[1].Descriptor(), "a tar in a long frame": h.Members[tarAt].Descriptor(),
	} {
		if b.Direct(d.Digest) {
			t.Errorf("%s is direct", name)
		}
		if _, err := b.Open(ended, oci.Repository{}, d, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%s does not wait: %v", name, err)
		}
	}
	manifest := h.Members[0].Descriptor()
	if raw, err := readBlob(t, b, manifest, 0); err != nil || digest.FromBytes(raw) != manifest.Digest || !b.Direct(manifest.Digest) {
		t.Errorf("a manifest: %v", err)
	}
	next := make(chan error)
	go func() {
		_, err := readBlob(t, b, h.Recreated[1].Descriptor(), 0)
		next <- err
	}()
	if raw, err := io.ReadAll(r); err != nil || digest.FromBytes(raw) != first.Digest {
		t.Errorf("the first one: %v", err)
	}
	for range 2 { // a turn ends once
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-next; err != nil {
		t.Errorf("the next one: %v", err)
	}
	if n := len(b.turns.places); n != 0 {
		t.Errorf("%d turns are not over", n)
	}
}

// Many read all blobs at once, and some of them go away.
func testTurnsOfMany(t *testing.T, b *Bundle) {
	n := len(b.Head().Members) + len(b.Head().Recreated)
	var readers sync.WaitGroup
	for i := range 4 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		readers.Go(func() {
			for _, i := range r.Perm(n) {
				d := b.Head().Blob(i)
				if leaves := r.IntN(3) == 0; leaves {
					openAndLeave(t, b, d)
					continue
				}
				offset := r.Int64N(2) * r.Int64N(d.Size)
				raw, err := readBlob(t, b, d, offset)
				if err != nil || int64(len(raw)) != d.Size-offset || offset == 0 && digest.FromBytes(raw) != d.Digest {
					t.Errorf("%s from %d: %d bytes, %v", d.Digest, offset, len(raw), err)
				}
			}
		})
	}
	readers.Wait()
	if n := len(b.turns.places); n != 0 {
		t.Errorf("%d turns are not over", n)
	}
}

// openAndLeave reads the begin of d and goes away.
func openAndLeave(t *testing.T, b *Bundle, d oci.Descriptor) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := b.Open(ctx, oci.Repository{}, d, d.Size/2)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
