package oci_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

const held = 32 << 10 // what Verify holds back

// randomBytes returns n bytes that are the same for the same seed.
func randomBytes(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func describe(p []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(p), Size: int64(len(p))}
}

var errCut = errors.New("connection cut")

func TestVerify(t *testing.T) {
	altered := func(p []byte, at int) []byte {
		q := bytes.Clone(p)
		q[at] ^= 1
		return q
	}
	for _, size := range []int{0, 1, 100, held - 1, held, held + 1, 3 * held, 300_001} {
		good := randomBytes(1, size)
		d := describe(good)
		d512 := d
		d512.Digest = digest.SHA512.FromBytes(good)
		cases := map[string]struct {
			d    oci.Descriptor
			r    io.Reader
			want error // nil: the content comes whole
		}{
			"whole":                      {d, bytes.NewReader(good), nil},
			"whole, sha512":              {d512, bytes.NewReader(good), nil},
			"whole, byte by byte":        {d, iotest.OneByteReader(bytes.NewReader(good)), nil},
			"whole, EOF with last bytes": {d, iotest.DataErrReader(bytes.NewReader(good)), nil},
			"one byte long":              {d, bytes.NewReader(append(bytes.Clone(good), 0)), oci.ErrCorrupt},
			"other content":              {describe([]byte("else")), bytes.NewReader(good), oci.ErrCorrupt},
		}
		if size > 0 {
			cases["one byte short"] = struct {
				d    oci.Descriptor
				r    io.Reader
				want error
			}{d, bytes.NewReader(good[:size-1]), oci.ErrCorrupt}
			for name, at := range map[string]int{"first byte altered": 0, "last byte altered": size - 1} {
				cases[name] = struct {
					d    oci.Descriptor
					r    io.Reader
					want error
				}{d, bytes.NewReader(altered(good, at)), oci.ErrCorrupt}
			}
			cases["cut"] = struct {
				d    oci.Descriptor
				r    io.Reader
				want error
			}{d, io.MultiReader(bytes.NewReader(good[:size/2]), iotest.ErrReader(errCut)), errCut}
		}
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				got, err := io.ReadAll(oci.Verify(c.r, c.d))
				if !errors.Is(err, c.want) {
					t.Fatalf("size %d: error %v, want %v", size, err, c.want)
				}
				if c.want == nil && !bytes.Equal(got, good) {
					t.Fatalf("size %d: other bytes came out", size)
				}
				if c.want != nil && !bytes.HasPrefix(append(bytes.Clone(good), 0), got) && name != "first byte altered" {
					t.Fatalf("size %d: bytes that are not of the content came out", size)
				}
				if promised := int(c.d.Size); c.want != nil && len(got) > max(0, promised-min(promised, held)) {
					t.Fatalf("size %d: %d bytes came out of wrong content, its end was to be held back", size, len(got))
				}
			})
		}
	}
}

func TestVerifyStaysAtItsError(t *testing.T) {
	r := oci.Verify(strings.NewReader("abcx"), describe([]byte("abcd")))
	for range 3 {
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, oci.ErrCorrupt) {
			t.Fatalf("read %d bytes, error %v", n, err)
		}
	}
}

func TestVerifyReadsOneByteOfSurplus(t *testing.T) {
	src := bytes.NewReader(make([]byte, 1000))
	_, err := io.ReadAll(oci.Verify(src, describe(make([]byte, 500))))
	if !errors.Is(err, oci.ErrCorrupt) {
		t.Fatalf("error %v", err)
	}
	if src.Len() != 499 {
		t.Errorf("read %d bytes of 500", 1000-src.Len())
	}
}

func TestVerifyWriteTo(t *testing.T) {
	p := randomBytes(2, 700_001)
	var out bytes.Buffer
	n, err := io.Copy(&out, oci.Verify(bytes.NewReader(p), describe(p)))
	if err != nil || n != int64(len(p)) || !bytes.Equal(out.Bytes(), p) {
		t.Fatalf("%d bytes, error %v", n, err)
	}
	_, err = io.Copy(io.Discard, oci.Verify(bytes.NewReader(p[:len(p)-1]), describe(p)))
	if !errors.Is(err, oci.ErrCorrupt) {
		t.Fatalf("one byte short: error %v", err)
	}
}

func TestVerifyFrom(t *testing.T) {
	p := randomBytes(3, 200_000)
	for _, offset := range []int{0, 1, 150_000, 199_999, 200_000} {
		h := sha256.New()
		h.Write(p[:offset])
		got, err := io.ReadAll(oci.VerifyFrom(bytes.NewReader(p[offset:]), describe(p), h, int64(offset)))
		if err != nil || !bytes.Equal(got, p[offset:]) {
			t.Errorf("from %d: %d bytes, error %v", offset, len(got), err)
		}
	}
	for _, offset := range []int64{-1, 200_001} {
		if _, err := io.ReadAll(oci.VerifyFrom(bytes.NewReader(p), describe(p), sha256.New(), offset)); err == nil {
			t.Errorf("from %d: no error", offset)
		}
	}
}

func TestVerifyBadDescriptors(t *testing.T) {
	for name, d := range map[string]oci.Descriptor{
		"no digest":      {},
		"no algorithm":   {Digest: "abc"},
		"path as digest": {Digest: "sha256:../../etc/passwd"},
		"short digest":   {Digest: "sha256:abcd"},
		"other hash":     {Digest: digest.SHA384.FromString("")},
		"negative size":  {Digest: digest.FromString(""), Size: -1},
	} {
		if got, err := io.ReadAll(oci.Verify(strings.NewReader(""), d)); err == nil || len(got) > 0 {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
		if _, err := io.ReadAll(oci.VerifyFrom(strings.NewReader(""), d, sha256.New(), 0)); err == nil {
			t.Errorf("%s: no error from VerifyFrom", name)
		}
	}
}

func TestDigestErrorText(t *testing.T) {
	d := describe([]byte("hello"))
	for in, want := range map[string]string{
		"hell":   "blob " + d.Digest.String() + ": got 4 bytes, want 5",
		"hello!": "blob " + d.Digest.String() + ": got 6 bytes, want 5",
		"hallo":  "blob " + d.Digest.String() + ": content has digest " + digest.FromString("hallo").String(),
	} {
		if _, err := io.ReadAll(oci.Verify(strings.NewReader(in), d)); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", in, err, want)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	p := randomBytes(4, 64<<20)
	d := describe(p)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, oci.Verify(bytes.NewReader(p), d)); err != nil {
			b.Fatal(err)
		}
	}
}
