package gzip

import (
	"context"
	"slices"
)

// batchWeight is how many bytes of memory the members of a batch have, or a little more.
const batchWeight = 4 << 20

// batch is some members in a row that are tried in a goroutine on the engines of the run.
type batch struct {
	members []*reading
	weight  int64
	engines []Engine
	fit     []Engine // those of engines that fit all members, once done is closed
	done    chan struct{}
}

// give has a whole member identified: in a batch with others, if few engines are left.
func (f *finder) give(ctx context.Context, r *reading) error {
	if n := len(f.run); n == 0 || n > maxSurvivors {
		if err := f.settle(ctx); err != nil {
			return err
		}
		return f.identify(r)
	}
	if f.batch == nil {
		f.batch = &batch{engines: f.run, done: make(chan struct{})}
	}
	f.batch.members = append(f.batch.members, r)
	for i := range r.units {
		f.batch.weight += r.units[i].weight()
	}
	if f.batch.weight < batchWeight {
		return nil
	}
	return f.start(ctx)
}

// start starts the work on the batch, if there is one.
func (f *finder) start(ctx context.Context) error {
	b := f.batch
	if b == nil {
		return nil
	}
	f.batch = nil
	for len(f.batches) > f.share.limit { // the first one takes longer than those behind it
		if err := f.collect(ctx); err != nil {
			return err
		}
	}
	if err := f.share.acquire(ctx); err != nil {
		return err
	}
	f.batches = append(f.batches, b)
	f.working.Go(func() {
		defer f.share.release()
		defer close(b.done)
		b.fit = b.engines
		for _, r := range b.members {
			if b.fit = f.fitting(b.fit, r.units, len(b.fit)); len(b.fit) == 0 {
				return
			}
		}
	})
	return nil
}

// settle waits until all members so far are identified.
func (f *finder) settle(ctx context.Context) error {
	if err := f.start(ctx); err != nil {
		return err
	}
	for len(f.batches) > 0 {
		if err := f.collect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// collect waits for the first batch, and makes run what fits its members, too. If nothing does, or the run is another one by
// now, its members are identified one by one.
func (f *finder) collect(ctx context.Context) error {
	b := f.batches[0]
	f.batches = f.batches[1:]
	select {
	case <-b.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	untried := func(e Engine) bool { return !slices.Contains(b.engines, e) }
	unfit := func(e Engine) bool { return !slices.Contains(b.fit, e) }
	if left := slices.DeleteFunc(slices.Clone(f.run), unfit); len(left) > 0 && !slices.ContainsFunc(f.run, untried) {
		f.run = left
		return nil
	}
	for _, r := range b.members {
		if err := f.identify(r); err != nil {
			return err
		}
	}
	return nil
}
