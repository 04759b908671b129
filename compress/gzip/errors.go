package gzip

import (
	"errors"
	"fmt"
)

var (
	// ErrNoRecipe comes back from [Find] for a blob that is to be kept as it is. A *NoRecipeError says why.
	ErrNoRecipe = errors.New("no recipe")
	// ErrRecipe comes back for bytes that are no valid recipe.
	ErrRecipe = errors.New("not a valid recipe")
	// ErrUnknownEngine comes back for a recipe with an engine or a version that this program does not have.
	ErrUnknownEngine = errors.New("unknown engine")
	// ErrMismatch comes back from [Recreate] when plain bytes and recipe do not give the blob.
	ErrMismatch = errors.New("the blob was not re-created")
)

// Reason is why there is no recipe of a blob.
type Reason string

const (
	NotGzip      Reason = "not gzip"
	Corrupt      Reason = "damaged gzip"    // cut short, or with a wrong checksum, too
	NoEngine     Reason = "unknown encoder" // of a member, from its begin
	Differs      Reason = "another encoder" // the one that fits at first does not fit later
	TooLarge     Reason = "too large"       // by the options, or a block by the parser
	TooManyParts Reason = "too many parts"  // or too large a header or tail, for a small recipe
)

// NoRecipeError is why a blob has no recipe.
type NoRecipeError struct {
	Reason Reason
	Member int   // the member that it was found at, from 0
	Plain  int64 // and after how many plain bytes of the blob
	Detail string
}

// Error names the reason and the place.
func (e *NoRecipeError) Error() string {
	s := fmt.Sprintf("no recipe: %s: member %d, plain byte %d", e.Reason, e.Member, e.Plain)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is makes errors.Is(e, ErrNoRecipe) hold.
func (e *NoRecipeError) Is(target error) bool { return target == ErrNoRecipe }

func recipeError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRecipe, fmt.Errorf(format, args...))
}
