package oci_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ferry-oci/ferry/oci"
)

func recipeFile(dir string, d oci.Descriptor) string {
	return filepath.Join(dir, "recipes", d.Digest.Encoded())
}

func putRecipe(t *testing.T, s *oci.Store, d oci.Descriptor, recipe []byte) {
	t.Helper()
	if err := s.PutRecipe(d, recipe); err != nil {
		t.Fatal(err)
	}
}

func wantNoRecipe(t *testing.T, s *oci.Store, d oci.Descriptor) {
	t.Helper()
	if got, err := s.Recipe(d); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("recipe %q, %v; want none", got, err)
	}
}

func TestStoreKeepsRecipes(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	blob := []byte("a layer")
	d := describe(blob)
	push(t, s, d, blob)
	wantNoRecipe(t, s, d)
	putRecipe(t, s, d, []byte("first"))
	putRecipe(t, s, d, []byte("second"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	if got, err := s.Recipe(d); err != nil || string(got) != "second" {
		t.Fatalf("recipe %q, %v", got, err)
	}
	other := describe([]byte("another layer"))
	if err := os.Rename(recipeFile(dir, d), recipeFile(dir, other)); err != nil {
		t.Fatal(err)
	}
	wantNoRecipe(t, s, other) // it is not the recipe of this one
	wantNoRecipe(t, s, d)
	if err := s.PutRecipe(d, make([]byte, oci.MaxRecipe+1)); err == nil {
		t.Error("a recipe above the limit was kept")
	}
}

func TestStoreRecipeGoesWithItsBlob(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := describe([]byte("a layer"))
	for name, c := range map[string]struct {
		drop func(oci.Descriptor) error
		kept bool
	}{
		"dropped":                     {s.Drop, false},
		"dropped, to be fetched anew": {func(d oci.Descriptor) error { return journalOf(t, s).Drop(d) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			push(t, s, d, []byte("a layer"))
			putRecipe(t, s, d, []byte("recipe"))
			if err := c.drop(d); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recipe(d); (err == nil) != c.kept {
				t.Errorf("recipe: %v, want kept: %v", err, c.kept)
			}
		})
	}
}

func journalOf(t *testing.T, s *oci.Store) *oci.Journal {
	t.Helper()
	j, err := s.Journal("plan")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// What the disk makes of a recipe is none, whatever byte it changes and wherever it ends.
func TestStoreRecipeOnABadDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	d := describe([]byte("a layer"))
	putRecipe(t, s, d, []byte("recipe"))
	whole, err := os.ReadFile(recipeFile(dir, d))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		for _, bad := range [][]byte{flipped, whole[:i]} {
			if err := os.WriteFile(recipeFile(dir, d), bad, 0o644); err != nil {
				t.Fatal(err)
			}
			wantNoRecipe(t, s, d)
		}
	}
	putRecipe(t, s, d, []byte("recipe"))
	if got, err := s.Recipe(d); err != nil || string(got) != "recipe" {
		t.Errorf("recipe %q, %v", got, err)
	}
}

// A store that has nothing but recipes is empty, and leaves no folder of them when it goes.
func TestStoreOfRecipesOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	putRecipe(t, s, describe([]byte("a layer")), []byte("recipe"))
	if empty, err := s.Empty(); !empty || err != nil {
		t.Errorf("empty: %v, %v", empty, err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
