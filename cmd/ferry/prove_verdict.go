package main

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// verdict is what a search for the recipe of a layer has found. The store keeps it: the encoded recipe, or this as JSON.
type verdict struct {
	recipe *gzip.Recipe // nil when there is none

	Engines int    `json:"engines"` // gzip.EngineSet of the ferry that searched in vain
	Reason  string `json:"reason"`
}

func (v verdict) encode() []byte {
	if v.recipe != nil {
		return v.recipe.Encode()
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic("ferry: a text cannot be written as JSON: " + err.Error())
	}
	return raw
}

// keptVerdict returns what is known of a layer, or an error that is oci.ErrNotFound: also where a ferry with fewer engines
// found no recipe, or one with more engines found one that is none here.
func keptVerdict(store *oci.Store, d oci.Descriptor) (v verdict, err error) {
	raw, err := store.Recipe(d)
	if err != nil {
		return v, err
	}
	if len(raw) > 0 && raw[0] == '{' {
		if err := json.Unmarshal(raw, &v); err != nil || v.Engines < gzip.EngineSet || v.Reason == "" {
			return v, fmt.Errorf("recipe of %s: %w by engines as of %d", d.Digest, oci.ErrNotFound, v.Engines)
		}
		return v, nil
	}
	if v.recipe, err = gzip.Decode(raw); err == nil {
		err = checkRecipe(v.recipe, d)
	}
	if err != nil {
		return v, fmt.Errorf("recipe of %s: %w: %w", d.Digest, oci.ErrNotFound, err)
	}
	return v, nil
}

// checkRecipe returns an error unless the recipe is that of d.
func checkRecipe(r *gzip.Recipe, d oci.Descriptor) error {
	if got := digest.NewDigestFromBytes(digest.SHA256, r.Digest[:]); got != d.Digest || r.Size != d.Size {
		return &oci.DigestError{Want: d, Got: got, GotSize: r.Size}
	}
	return nil
}

// noRecipeText says in a few words why there is no recipe.
func noRecipeText(e *gzip.NoRecipeError) string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}
