package gzip

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"strings"
	"testing"
)

// lasting returns n bytes of words, numbers and zeros that are the same for ever.
func lasting(n int) []byte {
	seed := uint64(1)
	below := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
	var words [500][]byte
	for i := range words {
		for range 2 + below(9) {
			words[i] = append(words[i], byte('a'+below(20)))
		}
	}
	b := make([]byte, 0, n+300)
	for len(b) < n {
		switch kind := below(100); {
		case kind < 90:
			b = append(b, words[below(1+below(len(words)))]...)
		case kind < 98:
			b = append(b, byte(below(256)), byte(below(256)), byte(below(256)))
		default:
			b = append(b, make([]byte, below(300))...)
		}
	}
	return b[:n]
}

// TestGoldenRecipes re-creates blobs whose digests are in recipes that were made long ago: every one must be re-created for
// ever, and on every platform. A line of the file is a name and a recipe in base64, for lasting(plain size of the recipe).
func TestGoldenRecipes(t *testing.T) {
	f, err := os.Open("testdata/recipes.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[EngineID]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, encoded, _ := strings.Cut(lines.Text(), "\t")
		recipe, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Decode(recipe)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Engines {
			seen[e.ID] = true
		}
		t.Run(name, func(t *testing.T) {
			plain := bytes.NewReader(lasting(int(r.PlainSize)))
			if err := Recreate(t.Context(), r, plain, io.Discard, RecreateOptions{Parallel: 2}); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(r.Encode(), recipe) {
				t.Error("a recipe that was decoded and encoded is another one")
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for id := Verbatim; id <= Pgzip; id++ {
		if !seen[id] {
			t.Errorf("no recipe has the engine %v", Engine{ID: id})
		}
	}
}
