package oci

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ferry-oci/ferry/oci/durable"
)

// recipesDir has what is known of how blobs were made, by the hex of their digest.
const recipesDir = "recipes"

// MaxRecipe is how many bytes a recipe has at most.
const MaxRecipe = 8 << 20

// PutRecipe keeps what is known of how the blob d was made, so that it need not be searched again: bytes whose meaning is
// the caller's. They replace what was kept before, and last as long as the blob. The blob need not be there.
func (s *Store) PutRecipe(d Descriptor, recipe []byte) error {
	path, err := s.recipePath(d)
	if err != nil {
		return err
	}
	if len(recipe) > MaxRecipe {
		return fmt.Errorf("recipe of %s: %d bytes, at most %d are kept", d.Digest, len(recipe), MaxRecipe)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// It is synced with the blobs. Until then the checksum tells whether all of it is on the disk.
	sum := recipeSum(d, recipe)
	if err := os.WriteFile(path+durable.TempSuffix, append(sum[:], recipe...), 0o644); err != nil {
		return errors.Join(err, removeIfThere(path+durable.TempSuffix))
	}
	if err := os.Rename(path+durable.TempSuffix, path); err != nil {
		return err
	}
	s.sync.add(path)
	return nil
}

// Recipe returns what PutRecipe has kept of the blob d, or [ErrNotFound]: also where the disk has changed it.
func (s *Store) Recipe(d Descriptor) ([]byte, error) {
	path, err := s.recipePath(d)
	if err != nil {
		return nil, err
	}
	raw, err := durable.ReadFile(path, sha256.Size+MaxRecipe)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, durable.ErrTooLarge):
		return nil, err
	case err != nil || len(raw) < sha256.Size || recipeSum(d, raw[sha256.Size:]) != [sha256.Size]byte(raw):
		return nil, fmt.Errorf("recipe of %s: %w in %s", d.Digest, ErrNotFound, s.dir)
	}
	return raw[sha256.Size:], nil
}

// recipeSum is the checksum of a recipe, in front of it in its file. It fits no other blob.
func recipeSum(d Descriptor, recipe []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(d.Digest + "\n"))
	h.Write(recipe)
	return [sha256.Size]byte(h.Sum(nil))
}

func (s *Store) recipePath(d Descriptor) (string, error) {
	if _, err := NewHash(d); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, recipesDir, d.Digest.Encoded()), nil
}

// dropRecipe removes what is kept of the blob d.
func (s *Store) dropRecipe(d Descriptor) error {
	path, err := s.recipePath(d)
	if err != nil {
		return err
	}
	return removeIfThere(path)
}
