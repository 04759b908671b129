package bundle

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// A recipe that cannot be used is told before anything is given, and by verify.
func TestForgedRecipe(t *testing.T) {
	for name, test := range map[string]struct {
		encode func(r *gzip.Recipe) []byte
		want   error
	}{
		"unknown engine":  {func(r *gzip.Recipe) []byte { r.Engines[0].ID = 99; return r.Encode() }, ErrVersion},
		"later version":   {func(r *gzip.Recipe) []byte { raw := r.Encode(); raw[3]++; return raw }, ErrVersion},
		"no recipe":       {func(*gzip.Recipe) []byte { return []byte("{}") }, ErrCorrupt},
		"empty":           {func(*gzip.Recipe) []byte { return nil }, ErrCorrupt},
		"cut short":       {func(r *gzip.Recipe) []byte { raw := r.Encode(); return raw[:len(raw)-1] }, ErrCorrupt},
		"blob too long":   {func(r *gzip.Recipe) []byte { r.Size++; return r.Encode() }, ErrCorrupt},
		"other blob":      {func(r *gzip.Recipe) []byte { r.Digest[5]++; return r.Encode() }, ErrCorrupt},
		"plain too short": {func(r *gzip.Recipe) []byte { r.PlainSize--; r.Members[0].Size--; return r.Encode() }, ErrCorrupt},
		"other plain":     {func(r *gzip.Recipe) []byte { r.PlainDigest[31]++; return r.Encode() }, ErrCorrupt},
		"sizes that do not add up": {
			func(r *gzip.Recipe) []byte { r.Members[0].Size++; return r.Encode() }, ErrCorrupt,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := compactFixture(t, 1000)
			first := true
			f.encode = func(r *gzip.Recipe) []byte {
				if !first {
					return r.Encode()
				}
				first = false
				return test.encode(r)
			}
			raw := forgeCompact(t, f, nil).write(t)
			if _, err := openBytes(t, raw, Options{}); !errors.Is(err, test.want) {
				t.Errorf("open: %v", err)
			}
			if _, err := OpenStream(bytes.NewReader(raw), Options{}); !errors.Is(err, test.want) {
				t.Errorf("pipe: %v", err)
			}
			_, err := openBytes(t, raw, Options{Lenient: true})
			r, verr := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if test.want == ErrVersion {
				if !errors.Is(err, ErrVersion) || !errors.Is(verr, ErrVersion) {
					t.Errorf("open leniently: %v; verify: %v", err, verr)
				}
				return
			}
			if err != nil || verr != nil || len(r.Damage) != 1 || len(r.Damage[0].Images) == 0 || r.Damage[0].Length == 0 {
				t.Errorf("open leniently: %v; verify: %+v, %v", err, r, verr)
			}
		})
	}
}

// A head that says another thing of a recipe than it does is found out as the recipe is.
func TestForgedRecreated(t *testing.T) {
	for name, change := range map[string]func(h *Head){
		"recipes swapped": func(h *Head) {
			h.Recreated[0].Recipe, h.Recreated[1].Recipe = h.Recreated[1].Recipe, h.Recreated[0].Recipe
		},
		"other size": func(h *Head) { h.Recreated[0].Size++ },
		"other blob": func(h *Head) { h.Recreated[0].Digest = digest.FromString("other") },
		"blobs swapped": func(h *Head) {
			h.Recreated[0].Digest, h.Recreated[1].Digest = h.Recreated[1].Digest, h.Recreated[0].Digest
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := forgeCompact(t, compactFixture(t, 1000), change).write(t)
			if _, err := openBytes(t, raw, Options{}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("open: %v", err)
			}
			if _, err := OpenStream(bytes.NewReader(raw), Options{}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("pipe: %v", err)
			}
			r, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err != nil || len(r.Damage) == 0 {
				t.Errorf("verify: %+v, %v", r, err)
			}
		})
	}
}

// A twin that is not that of its manifest is found out by verify; whoever reads originals does not meet it.
func TestForgedTwin(t *testing.T) {
	for name, change := range map[string]func(h *Head){
		"twin of another": func(h *Head) {
			a, b := &h.Images[0].Manifests[0], &h.Images[0].Manifests[1]
			a.Plain, b.Plain = b.Plain, a.Plain
		},
		"no twin": func(h *Head) { h.Images[0].Manifests[0].Plain = nil },
	} {
		t.Run(name, func(t *testing.T) {
			raw := forgeCompact(t, compactFixture(t, 1000), change).write(t)
			r, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err != nil || len(r.Damage) != 1 || !slices.Equal(r.Damage[0].Images, []string{"quay.io/a/app:1"}) {
				t.Errorf("verify: %+v, %v", r, err)
			}
		})
	}
}

// A recipe that fits the head and gives another blob is found out when that is made, and hurts no other.
func TestWrongRecipe(t *testing.T) {
	f := compactFixture(t, 100_000)
	f.encode = func(r *gzip.Recipe) []byte {
		if r.Engines[0].Level == 1 {
			r.Engines[0].Level = 2
		}
		return r.Encode()
	}
	raw := forgeCompact(t, f, nil).write(t)
	checkDamage(t, raw, "quay.io/a/app:1")
}

// Damage in the middle of plain bytes hurts the images that need what is made from them, and no other.
func TestCompactBadSector(t *testing.T) {
	f := compactFixture(t, 100_000)
	parts := forgeCompact(t, f, nil)
	whole, err := openBytes(t, parts.write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := whole.Head().Recreated[0] // the layer that two images share
	for i, m := range parts.members {
		if m.name == whole.Head().Members[again.Plain].Name() {
			parts.members[i].raw = bytes.Clone(m.raw)
			parts.members[i].raw[len(m.raw)/2] ^= 1
		}
	}
	checkDamage(t, parts.write(t), whole.Head().ImagesWith(again.Digest)...)
}

// checkDamage proves that verify finds one damaged recreated blob or more, which the images need, and that a copy brings all others
// to their place.
func checkDamage(t *testing.T, raw []byte, images ...string) {
	t.Helper()
	r, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil || len(r.Damage) == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, d := range r.Damage {
		if !slices.Equal(d.Images, images) || d.Length == 0 || !slices.ContainsFunc(r.Head.Recreated, func(r Recreated) bool { return r.Digest == d.Digest }) {
			t.Errorf("damage %+v, want images %v", d, images)
		}
	}
	if r.Images != len(r.Head.Images)-len(images) {
		t.Errorf("%d images are whole", r.Images)
	}
	for _, transfers := range []int{1, 4} {
		b, err := openBytes(t, raw, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := b.NewPass()
		for name, src := range map[string]oci.Source{"pass": p, "any order": b} {
			var dst ocitest.Memory
			report := copyInTime(t, src, &dst, jobsOf(t, b, b.Head()), oci.CopyOptions{Transfers: transfers})
			var failed []string
			for _, o := range report.Failed() {
				failed = append(failed, o.Job)
				if !errors.Is(o.Err, ErrCorrupt) && !errors.Is(o.Err, oci.ErrCorrupt) {
					t.Errorf("%s: %s: %v", name, o.Job, o.Err)
				}
			}
			if !slices.Equal(failed, images) {
				t.Errorf("%s, %d transfers: %v failed, want %v", name, transfers, failed, images)
			}
		}
		p.Close()
	}
	if err := drain(t, raw); !errors.Is(err, ErrCorrupt) && !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("from a pipe: %v", err)
	}
}

// FuzzRecipe puts any bytes in the place of a recipe: what is read is the blob, or an error.
func FuzzRecipe(f *testing.F) {
	honest := newFixture(f)
	honest.image("quay.io/a/app:1", honest.plainImage(honest.noisy(1, 100, 1)))
	honest.encode = func(r *gzip.Recipe) []byte {
		f.Add(r.Encode())
		return r.Encode()
	}
	forgeCompact(f, honest.compact(), nil)
	f.Fuzz(func(t *testing.T, recipe []byte) {
		fix := *honest
		fix.t, fix.blobs = t, maps.Clone(honest.blobs)
		fix.encode = func(*gzip.Recipe) []byte { return recipe }
		raw := forgeCompact(t, &fix, nil).write(t)
		b, err := openBytes(t, raw, Options{})
		if err != nil {
			if !isBundleError(err) {
				t.Error(err)
			}
			return
		}
		d := b.Head().Recreated[0].Descriptor()
		r, err := b.Open(t.Context(), oci.Repository{}, d, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, fix.blobs[d.Digest]) || err != nil && !isBundleError(err) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestCompactEachByteFlipped(t *testing.T) {
	f := newFixture(t)
	f.image("quay.io/a/app:1", f.index(f.plainImage(f.noisy(1, 300, 6)), f.plainImage(f.noisy(2, 200, 1))))
	raw := f.compact().writeAll(compress.WriterOptions{Format: compress.Zstd})
	for i := 0; i < len(raw); i += flipStep(compress.Zstd) {
		hurt := bytes.Clone(raw)
		hurt[i] ^= 1 << (i % 8)
		report, err := Verify(t.Context(), bytes.NewReader(hurt), int64(len(hurt)), VerifyOptions{Jobs: 1})
		if err != nil && !isBundleError(err) {
			t.Fatalf("byte %d: %v is not an error about the bundle", i, err)
		}
		readHurt(t, hurt, i, err == nil && len(report.Damage) == 0)
	}
}
