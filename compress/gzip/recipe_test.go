package gzip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// sample returns a recipe with all there can be, and the plain bytes and the blob of it.
func sample(t testing.TB) (r *Recipe, plain, blob []byte) {
	t.Helper()
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	text := text(9<<20, 14)
	blob = member(t, Engine{ID: Golang, Level: 4}, header, text)
	blob = append(blob, member(t, Engine{ID: Golang, Level: 9}, append(slices.Clone(header[:8]), 2, 0xff), text[:5000], 77, 5000)...)
	blob = append(blob, oddMember(t, header, "odd")...)
	blob = append(blob, "\x00\x00tail"...)
	r, plain = roundTrip(t, blob, 2)
	return r, plain, blob
}

func TestDecodeRefuses(t *testing.T) {
	r, _, _ := sample(t)
	encoded := r.Encode()
	for n := range encoded {
		if _, err := Decode(encoded[:n]); !errors.Is(err, ErrRecipe) {
			t.Errorf("cut after %d bytes: got %v", n, err)
		}
	}
	if _, err := Decode(append(slices.Clone(encoded), 0)); !errors.Is(err, ErrRecipe) {
		t.Errorf("a byte behind it: got %v", err)
	}
	tests := map[string]struct {
		change func(*Recipe)
		want   error
	}{
		"an engine that is not known": {func(r *Recipe) { r.Engines[0].ID = 77 }, ErrUnknownEngine},
		"a level that is not known":   {func(r *Recipe) { r.Engines[0].Level = 10 }, ErrUnknownEngine},
		"the level -1":                {func(r *Recipe) { r.Engines[0].Level = -1 }, ErrUnknownEngine},
		"a variant":                   {func(r *Recipe) { r.Engines[0].Variant = 1 }, ErrUnknownEngine},
		"a chunk":                     {func(r *Recipe) { r.Engines[0].Chunk = 1 << 20 }, ErrUnknownEngine},
		"an engine twice":             {func(r *Recipe) { r.Engines[1] = r.Engines[0] }, ErrRecipe},
		"a header twice":              {func(r *Recipe) { r.Headers[1] = r.Headers[0] }, ErrRecipe},
		"a header with more":          {func(r *Recipe) { r.Headers[0] = append(slices.Clone(r.Headers[0]), 0) }, ErrRecipe},
		"a header that is none":       {func(r *Recipe) { r.Headers[0] = make([]byte, 10) }, ErrRecipe},
		"a header that is not used":   {func(r *Recipe) { r.Members[1].Header = 0 }, ErrRecipe},
		"no members":                  {func(r *Recipe) { r.Members = nil }, ErrRecipe},
		"a member too small":          {func(r *Recipe) { r.Members[0].Size-- }, ErrRecipe},
		"a plain size too large":      {func(r *Recipe) { r.PlainSize = MaxRatio*r.Size + 1 }, ErrRecipe},
		"a blob too small":            {func(r *Recipe) { r.Size = 50 }, ErrRecipe},
		"a flush behind the end":      {func(r *Recipe) { r.Members[1].Flushes = []int64{5001} }, ErrRecipe},
		"a checkpoint too early":      {func(r *Recipe) { r.Members[0].Checkpoints[0].Plain = 100_000 }, ErrRecipe},
		"a checkpoint of no blocks":   {func(r *Recipe) { r.Members[0].Checkpoints[0].Blocks = 0 }, ErrRecipe},
		"a checkpoint after a flush":  {func(r *Recipe) { r.Members[0].Flushes = []int64{5} }, ErrRecipe},
		"too many bits":               {func(r *Recipe) { r.Members[0].Checkpoints[0].Bits = 8 }, ErrRecipe},
		"a flush of no engine":        {func(r *Recipe) { r.Members[2].Flushes = []int64{1} }, ErrRecipe},
		"too many flushes":            {func(r *Recipe) { r.Members[1].Flushes = make([]int64, maxFlushes+1) }, ErrRecipe},
		"too many changes": {func(r *Recipe) {
			for range maxChanges {
				r.Members = append(r.Members, Member{Engine: 0}, Member{Engine: 1})
			}
		}, ErrRecipe},
		"padding of 8 bits": {func(r *Recipe) { r.Members[0].Padding = 128 }, ErrRecipe},
		"zeros in the rest": {func(r *Recipe) { r.Rest = []byte{0, 1} }, ErrRecipe},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Decode(slices.Clone(encoded))
			if err != nil {
				t.Fatal(err)
			}
			test.change(r)
			if _, err := Decode(r.Encode()); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// TestRecreateRefuses changes a recipe, or the plain bytes, in ways that only re-creation can see.
func TestRecreateRefuses(t *testing.T) {
	r, plain, blob := sample(t)
	encoded := r.Encode()
	short := func(b []byte) []byte { return b[:len(b)-1] }
	tests := map[string]struct {
		change func(*Recipe)
		plain  []byte
		want   error
	}{
		"an engine that is not known":  {func(r *Recipe) { r.Engines[1].ID = 77 }, plain, ErrUnknownEngine},
		"another level":                {func(r *Recipe) { r.Engines[0].Level = 5 }, plain, ErrMismatch},
		"another digest":               {func(r *Recipe) { r.Digest[3]++ }, plain, ErrMismatch},
		"a blob of one byte more":      {func(r *Recipe) { r.Size++ }, plain, ErrMismatch},
		"a blob of one byte less":      {func(r *Recipe) { r.Size-- }, plain, ErrMismatch},
		"other bits of a checkpoint":   {func(r *Recipe) { r.Members[0].Checkpoints[0].Bits ^= 1 }, plain, ErrMismatch},
		"a block more to a checkpoint": {func(r *Recipe) { r.Members[0].Checkpoints[0].Blocks++ }, plain, ErrMismatch},
		"blocks without end":           {func(r *Recipe) { r.Members[0].Checkpoints[1].Blocks = 1 << 30 }, plain, ErrMismatch},
		"blocks less to a checkpoint": {func(r *Recipe) {
			// The plain bytes that the part does not want are more than there is room for.
			r.Members[0].Checkpoints = []Checkpoint{{Plain: 8 << 20, Blocks: 1}}
		}, plain, ErrMismatch},
		"a plain byte less":  {func(*Recipe) {}, short(plain), io.ErrUnexpectedEOF},
		"another plain byte": {func(*Recipe) {}, append([]byte{plain[0] ^ 1}, plain[1:]...), ErrMismatch},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Decode(slices.Clone(encoded))
			if err != nil {
				t.Fatal(err)
			}
			test.change(r)
			out := new(counter)
			err = Recreate(t.Context(), r, bytes.NewReader(test.plain), out, RecreateOptions{Parallel: 2})
			if !errors.Is(err, test.want) || out.n > r.Size || test.want == ErrUnknownEngine && out.n > 0 {
				t.Errorf("got %v and %d bytes, want %v", err, out.n, test.want)
			}
		})
	}
	if _, err := NewReader(t.Context(), r, bytes.NewReader(plain), RecreateOptions{}).Read(nil); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(NewReader(t.Context(), r, iotest.HalfReader(bytes.NewReader(plain)), RecreateOptions{}))
	if err != nil || !bytes.Equal(got, blob) {
		t.Errorf("a reader gave %d bytes and %v", len(got), err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{ left int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestBroken holds that errors of the ends come back as they are, and that a canceled context ends the work.
func TestBroken(t *testing.T) {
	r, plain, blob := sample(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := func(b []byte) io.Reader {
		return io.MultiReader(bytes.NewReader(b[:len(b)*3/4]), iotest.ErrReader(errBroken))
	}
	find := func(ctx context.Context, blob io.Reader, plain io.Writer) error {
		_, err := Find(ctx, blob, plain, FindOptions{Parallel: 2})
		return err
	}
	recreate := func(ctx context.Context, plain io.Reader, blob io.Writer) error {
		return Recreate(ctx, r, plain, blob, RecreateOptions{Parallel: 2})
	}
	tests := map[string]struct{ err, want error }{
		"the blob of Find":            {find(t.Context(), broken(blob), io.Discard), errBroken},
		"the begin of the blob":       {find(t.Context(), iotest.ErrReader(errBroken), io.Discard), errBroken},
		"the plain bytes of Find":     {find(t.Context(), bytes.NewReader(blob), &brokenWriter{7 << 20}), errBroken},
		"a canceled Find":             {find(canceled, bytes.NewReader(blob), io.Discard), context.Canceled},
		"the plain bytes of Recreate": {recreate(t.Context(), broken(plain), io.Discard), errBroken},
		"the blob of Recreate":        {recreate(t.Context(), bytes.NewReader(plain), &brokenWriter{1 << 20}), errBroken},
		"a canceled Recreate":         {recreate(canceled, bytes.NewReader(plain), io.Discard), context.Canceled},
	}
	for name, test := range tests {
		if !errors.Is(test.err, test.want) || errors.Is(test.err, ErrNoRecipe) {
			t.Errorf("%s: got %v, want %v", name, test.err, test.want)
		}
	}
}
