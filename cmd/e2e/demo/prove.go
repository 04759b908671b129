package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// errDiffers comes back when the target does not hold what the source holds.
var errDiffers = errors.New("the target differs from the source")

// prove compares what the registries hold, without ferry, and prints a table and a verdict.
func (t *trip) prove(ctx context.Context) error {
	fmt.Print("\n# compare both registries over plain http: manifests byte for byte, blobs by their sha256\n\n")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "IMAGE AT THE TARGET\tDIGEST\tPLATFORMS\tMANIFESTS\tBLOBS\tMB\tEQUAL")
	var differences []error
	var manifests, blobs int
	for _, image := range t.images {
		to := t.targetOf(image)
		got, err := compare.Image(ctx, t.sourceOf(image), to)
		equal := "yes"
		if err != nil {
			equal = "NO"
			differences = append(differences, fmt.Errorf("%s: %w", image.Repository, err))
		}
		manifests, blobs = manifests+got.Manifests+1, blobs+got.Blobs
		fmt.Fprintf(table, "%s\t%.12s\t%s\t%d\t%d\t%.1f\t%s\n", to.Repository+suffix(to.Reference), got.Root.Digest.Encoded(),
			platforms(got.Platforms), got.Manifests+1, got.Blobs, float64(got.Bytes)/1e6, equal)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := t.proveNothingElse(ctx); err != nil {
		differences = append(differences, err)
	}
	if err := errors.Join(differences...); err != nil {
		return fmt.Errorf("%w:\n%w", errDiffers, err)
	}
	fmt.Printf("\nAll equal: %d images, %d manifests and indexes, %d blobs.\n", len(t.images), manifests, blobs)
	return nil
}

// sourceOf and targetOf tell where an image lies in both registries.
func (t *trip) sourceOf(image corpus.Image) compare.End {
	return compare.End{
		Registry:   wire.Registry{URL: t.source.URL()},
		Repository: image.Repository, Reference: reference(image),
	}
}

func (t *trip) targetOf(image corpus.Image) compare.End {
	return compare.End{
		Registry:   wire.Registry{URL: t.target.URL()},
		Repository: t.targetNamespace + "/" + image.Repository, Reference: reference(image),
	}
}

// proveNothingElse looks for repositories at the target that the list does not lead to.
func (t *trip) proveNothingElse(ctx context.Context) error {
	var expected []string
	for _, image := range t.images {
		expected = append(expected, t.targetOf(image).Repository)
	}
	extra, err := compare.Extra(ctx, wire.Registry{URL: t.target.URL()}, expected)
	if err != nil {
		return err
	}
	if len(extra) > 0 {
		return fmt.Errorf("repositories that nobody asked for: %s", strings.Join(extra, " "))
	}
	return nil
}

func reference(image corpus.Image) string {
	if image.Pinned {
		return image.Root.Digest.String()
	}
	return image.Tag
}

// suffix returns a reference as it stands behind a repository, digests cut short.
func suffix(reference string) string {
	if strings.HasPrefix(reference, "sha256:") {
		return "@" + reference[:len("sha256:")+6] + "…"
	}
	return ":" + reference
}

func platforms(names []string) string {
	if len(names) == 0 {
		return "one"
	}
	return strings.Join(names, " ")
}
