package gzip

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"testing"
	"time"
)

// seeds are small blobs of all kinds.
func seeds(t testing.TB) [][]byte {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}
	plain := text(5000, 11)
	var blobs [][]byte
	for _, e := range []Engine{
		{ID: Golang, Level: 6},
		{ID: Golang, Level: 1},
		{ID: Zlib, Level: 6, Variant: 8},
		{ID: GNU, Level: 9},
		{ID: Pigz, Level: 6, Chunk: 128 << 10},
		{ID: Pgzip, Level: 5, Variant: 4, Chunk: 1 << 20},
	} {
		blob := member(t, e, header, plain)
		if e.flushes() {
			blob = append(blob, member(t, e, header, plain[:100], 50, 100)...)
		}
		blobs = append(blobs, blob)
	}
	return append(blobs, append(blobs[0], "\x00\x00tail"...), oddMember(t, header, "odd"), greedyMember(t, header, plain))
}

// FuzzFind tries bytes as a blob: there is a recipe that gives them again, or none.
func FuzzFind(f *testing.F) {
	for _, blob := range seeds(f) {
		f.Add(blob)
		f.Add(blob[:len(blob)/2])
		flipped := bytes.Clone(blob)
		flipped[len(blob)/3] ^= 4
		f.Add(flipped)
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		var plain bytes.Buffer
		r, err := Find(t.Context(), bytes.NewReader(blob), &plain, FindOptions{MaxPlain: 1 << 20, Parallel: 2})
		if errors.Is(err, ErrNoRecipe) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		checkRecipe(t, r, blob, plain.Bytes(), 2)
	})
}

// TestFlippedBits flips bits of a blob, most of which leave a valid stream until the checksum.
func TestFlippedBits(t *testing.T) {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	blob := member(t, Engine{ID: Golang, Level: 6}, header, text(300, 12))
	for i := 0; i < 8*len(blob); i += 3 {
		flipped := bytes.Clone(blob)
		flipped[i/8] ^= 1 << (i % 8)
		var plain bytes.Buffer
		r, err := Find(t.Context(), bytes.NewReader(flipped), &plain, FindOptions{})
		if err == nil {
			checkRecipe(t, r, flipped, plain.Bytes(), 1)
		} else if !errors.Is(err, ErrNoRecipe) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
}

// FuzzBroken changes valid blobs: bits are flipped, the end is cut, and bytes follow. There is a recipe that gives them again,
// or none.
func FuzzBroken(f *testing.F) {
	blobs := seeds(f)
	for i := range blobs {
		f.Add(uint8(i), uint16(77*i), uint8(i), uint16(100*i), []byte("\x00rest"))
	}
	f.Fuzz(func(t *testing.T, number uint8, flip uint16, bits uint8, cut uint16, rest []byte) {
		blob := bytes.Clone(blobs[int(number)%len(blobs)])
		blob[int(flip)%len(blob)] ^= bits
		blob = append(blob[:len(blob)-int(cut)%len(blob)], rest...)
		var plain bytes.Buffer
		r, err := Find(t.Context(), bytes.NewReader(blob), &plain, FindOptions{MaxPlain: 1 << 20, Parallel: 2})
		if errors.Is(err, ErrNoRecipe) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		checkRecipe(t, r, blob, plain.Bytes(), 2)
	})
}

// FuzzRecipe tries bytes as a recipe of any plain bytes: they are refused, or are the ones that it is encoded as, and
// re-creation ends, with the blob of the digest or an error.
func FuzzRecipe(f *testing.F) {
	for _, blob := range seeds(f) {
		if r, err := Find(f.Context(), bytes.NewReader(blob), io.Discard, FindOptions{}); err == nil {
			f.Add(r.Encode(), text(5000, 11))
		}
	}
	f.Add((&Recipe{
		Size: 1 << 20, PlainSize: 1 << 20, Headers: [][]byte{{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}},
		Engines: []Engine{{ID: Golang, Level: 6}},
		Members: []Member{{Size: 1 << 20, Checkpoints: []Checkpoint{{300_000, 2, 3}, {600_000, 100, 0}}}},
	}).Encode(), []byte(nil))
	long := text(1<<20, 13)
	f.Fuzz(func(t *testing.T, b, plain []byte) {
		r, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrRecipe) && !errors.Is(err, ErrUnknownEngine) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(r.Encode(), b) {
			t.Fatal("a recipe that was decoded and encoded is another one")
		}
		if r.Size > 64<<20 {
			return // the work is no more than the size says, which is for the caller to know
		}
		out := &counter{hash: sha256.New()}
		begin := time.Now()
		err = Recreate(t.Context(), r, io.MultiReader(bytes.NewReader(plain), bytes.NewReader(long)), out, RecreateOptions{Parallel: 2})
		if out.n > r.Size {
			t.Errorf("%d bytes were written of a blob of %d", out.n, r.Size)
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if err == nil && [sha256.Size]byte(out.hash.Sum(nil)) != r.Digest {
			t.Error("another blob was re-created")
		}
	})
}

// counter counts what is written, and hashes it if it has a hash.
type counter struct {
	n    int64
	hash hash.Hash
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.hash != nil {
		c.hash.Write(p)
	}
	return len(p), nil
}
