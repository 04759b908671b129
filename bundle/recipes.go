package bundle

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// recipes are the recipes of a bundle. They are kept as they are in it, which is at most maxRecipes bytes: taken apart,
// one may need several times as much, so that is done when its blob is re-created.
type recipes struct {
	head *Head
	raw  [][]byte // as in Head.Recreated
	bad  []error  // why some of them are no good
}

func newRecipes(h *Head) *recipes {
	return &recipes{head: h, raw: make([][]byte, len(h.Recreated)), bad: make([]error, len(h.Recreated))}
}

// load reads the recipes of all recreated blobs with read, which gives the content of a member. An engine that is not known
// is ErrVersion, whatever else is wrong; of other recipes that are no good the first one comes back, and all are noted.
func (r *recipes) load(ctx context.Context, read func(member int) ([]byte, error)) error {
	var first error
	for n, again := range r.head.Recreated {
		raw, err := read(again.Recipe)
		if err == nil {
			err = r.check(again, raw)
		}
		switch {
		case errors.Is(err, ErrVersion):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.bad[n] = &DamageError{Damage: r.head.damage(again.Recipe, err), Err: err}
			first = cmp.Or(first, r.bad[n])
		default:
			r.raw[n] = raw
		}
	}
	return first
}

// check proves a recipe, and that the head says the same as it does.
func (r *recipes) check(again Recreated, raw []byte) error {
	if err := oci.CheckBytes(r.head.Members[again.Recipe].Descriptor(), raw); err != nil {
		return err
	}
	plain := r.head.Members[again.Plain]
	recipe, err := gzip.Decode(raw)
	switch {
	case errors.Is(err, gzip.ErrUnknownEngine):
		return fmt.Errorf("recipe of blob %s: %w: %w", again.Digest, err, ErrVersion)
	case err != nil:
		return err
	case sumDigest(recipe.Digest) != again.Digest || recipe.Size != again.Size:
		return fmt.Errorf("it is that of blob %s of %d bytes, %s says another one", sumDigest(recipe.Digest), recipe.Size, headName)
	case sumDigest(recipe.PlainDigest) != plain.Digest || recipe.PlainSize != plain.Size:
		return fmt.Errorf("it wants plain bytes %s, %d of them, %s says others", sumDigest(recipe.PlainDigest), recipe.PlainSize, headName)
	}
	return nil
}

// of returns the recipe of a recreated blob by its position in Head.Recreated.
func (r *recipes) of(n int) (*gzip.Recipe, error) {
	if r.bad[n] != nil {
		return nil, r.bad[n]
	}
	return gzip.Decode(r.raw[n])
}

// damage returns what is wrong with recipes. What lies in a volume that is missing is not.
func (r *recipes) damage() []Damage {
	var all []Damage
	for _, err := range r.bad {
		var d *DamageError
		if errors.As(err, &d) && !isMissing(err) {
			all = append(all, d.Damage)
		}
	}
	return all
}

// sumDigest returns a sha256 as a digest.
func sumDigest(sum [32]byte) digest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum[:]))
}
