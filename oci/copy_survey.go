package oci

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Survey asks dst what the tags of all targets name now, and sets Target.Current in place; it stays empty where there
// is no such tag, and everywhere when dst is no [Tagger]. Each tag is asked for once, transfers at a time; 0 means 8.
func Survey(ctx context.Context, dst Sink, jobs []Job, transfers int) error {
	tagger, ok := dst.(Tagger)
	if !ok {
		return nil
	}
	if transfers <= 0 {
		transfers = defaultTransfers
	}
	same := map[Reference][]*Target{}
	for _, j := range jobs {
		for i := range j.To {
			if t := &j.To[i]; t.Tag != "" {
				ref := Reference{Repository: t.Repository, Tag: t.Tag}
				same[ref] = append(same[ref], t)
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	for ref, targets := range same {
		group.Go(func() error {
			d, err := tagger.Tagged(ctx, ref.Repository, ref.Tag)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("tag %s: %w", ref, err)
			}
			for _, t := range targets {
				t.Current = d.Digest
			}
			return nil
		})
	}
	return group.Wait()
}
