// Package gzip un-gzips blobs in a way that can be undone: [Find] gives the plain bytes of a blob and a [Recipe], from which
// [Recreate] makes the very blob again.
//
// A recipe names the program that wrote the blob, as the packages below this one know them, and what that program does not
// decide: the headers of the members, their sizes, the flushes, what follows the last member. Find proves it: the blocks that
// the encoder of the program gives for the plain bytes are equal to those of the blob. A blob that no encoder here gives has
// no recipe, which is [ErrNoRecipe], and is best kept as it is.
//
// Both functions stream. No blob is held in memory, whatever its size; where the program allows it, parts of a blob are
// proven and re-created on several cores. RECIPE.md describes the format of a recipe.
package gzip
