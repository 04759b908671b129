package builders

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	recipes "github.com/ferry-oci/ferry/compress/gzip"
)

// builder is a program that makes a layer of a tar.
type builder struct {
	name  string
	tools []string // that it takes besides what is linked here
	build func(b *bench) []byte
	// engine is what the name of the engine that is found begins with, of every member that is not in the recipe. It is
	// empty for programs that are not known: their layers are kept, for reason, if they do not fit into a recipe.
	engine string
	reason recipes.Reason
}

// bench is where a builder works: an empty folder with layer.tar.
type bench struct {
	*testing.T
	dir string
	tar []byte
}

func TestBuilders(t *testing.T) {
	few := slices.Concat(tools(), libraries())
	all := few
	if long() {
		few = slices.Concat(few, largeTools())
		all = slices.Concat(few, levels(), chunks())
		testAll(t, nameless(all), "a file", tarOf(t, 0))
		testAll(t, few, "20 MB", tarOf(t, 20_000_000))
	}
	testAll(t, all, "1 MB", tarOf(t, 1_300_000)) // more than a chunk of any of them
}

// nameless returns builders whose layers are so small that several programs may have made them.
func nameless(builders []builder) []builder {
	all := slices.Clone(builders)
	for i := range all {
		all[i].engine = ""
	}
	return all
}

// testAll gives a tar, called size, to builders.
func testAll(t *testing.T, builders []builder, size string, plain []byte) {
	for _, b := range builders {
		t.Run(fmt.Sprintf("%s/%s", b.name, size), func(t *testing.T) {
			t.Parallel()
			requireTools(t, b.tools...)
			check(t, b, b.build(newBench(t, plain)))
		})
	}
}

// check proves that the engine of a blob is found, or none for the right reason, and that the recipe gives the blob.
func check(t *testing.T, b builder, blob []byte) {
	t.Helper()
	var plain bytes.Buffer
	r, err := recipes.Find(t.Context(), bytes.NewReader(blob), &plain, recipes.FindOptions{})
	if no := (*recipes.NoRecipeError)(nil); errors.As(err, &no) {
		t.Logf("kept: %v", err)
		if b.reason != no.Reason {
			t.Errorf("kept: %v, want %s%s", err, b.engine, b.reason)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	encoded := r.Encode()
	t.Logf("%v: %d bytes of %d, %d members, a recipe of %d", r.Engines, len(blob), plain.Len(), len(r.Members), len(encoded))
	if !bytes.Equal(plain.Bytes(), gunzip(t, blob)) {
		t.Error("the plain bytes are others than those that compress/gzip gives")
	}
	for _, e := range r.Engines {
		if b.engine != "" && e.ID != recipes.Verbatim && !strings.HasPrefix(e.String(), b.engine) {
			t.Errorf("found %v, want %s", e, b.engine)
		}
	}
	if limit := allowed(r); len(encoded) > limit {
		t.Errorf("the recipe has %d bytes, want at most %d", len(encoded), limit)
	}
	recreate(t, encoded, plain.Bytes(), blob)
}

// recreate proves that an encoded recipe gives the blob.
func recreate(t *testing.T, encoded, plain, blob []byte) {
	t.Helper()
	r, err := recipes.Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	if err := recipes.Recreate(t.Context(), r, bytes.NewReader(plain), hash, recipes.RecreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(blob); !bytes.Equal(hash.Sum(nil), want[:]) {
		t.Error("another blob was re-created")
	}
}

// allowed returns how many bytes a recipe may have.
func allowed(r *recipes.Recipe) int {
	n := 200 + 16*len(r.Members)
	for i := range r.Members {
		m := &r.Members[i]
		n += 16*len(m.Flushes) + 6*len(m.Checkpoints) + len(m.Stream)
	}
	return n
}

func gunzip(t *testing.T, blob []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil && !errors.Is(err, gzip.ErrHeader) { // zeros follow the last member, as bsdtar fills its blocks
		t.Fatal(err)
	}
	return plain
}

// long reports whether the builders get much to do.
func long() bool { return os.Getenv("FERRY_E2E_LONG") != "" }
