package corpus_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/compress/gzip"
)

func TestZips(t *testing.T) {
	l, err := corpus.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	images, zips, err := corpus.Zips(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("same digests every time", func(t *testing.T) {
		other, err := corpus.NewLayout(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := corpus.Zips(other); err != nil || !reflect.DeepEqual(images, again) {
			t.Errorf("built %v, then %v, %v", images, again, err)
		}
	})
	plain := map[digest.Digest]bool{}
	seen := map[string]bool{}
	for _, z := range zips {
		got, id := find(t, l, z)
		if z.Engine == "" {
			seen[got] = true
			continue
		}
		seen[z.Engine] = true
		if !strings.HasPrefix(got, z.Engine) || id != z.DiffID || plain[id] {
			t.Errorf("got %s, plain bytes %s; want %s, %s, which no other has", got, id, z.Engine, z.DiffID)
		}
		plain[id] = true
	}
	for _, want := range []string{
		"Go level 6", "zlib level 6", "GNU gzip level 6", "busybox level 6", "pigz level 6", "pigz -i level 6", "klauspost level 5", "pgzip level 5",
		string(gzip.NotGzip), string(gzip.Corrupt), string(gzip.NoEngine),
	} {
		if !seen[want] {
			t.Errorf("no layer is %s", want)
		}
	}
}

// find returns the engine of a layer or the reason why there is none, and the digest of its plain bytes.
func find(t *testing.T, l corpus.Layout, z corpus.Zip) (string, digest.Digest) {
	t.Helper()
	blob, err := os.Open(l.Path(z.Descriptor.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	digester := digest.SHA256.Digester()
	r, err := gzip.Find(t.Context(), blob, digester.Hash(), gzip.FindOptions{})
	if no := (*gzip.NoRecipeError)(nil); errors.As(err, &no) {
		return string(no.Reason), ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Engines[0].String(), digester.Digest()
}
