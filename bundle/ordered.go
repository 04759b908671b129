package bundle

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

// ordered gives blobs as the members come that they are made from: members themselves, and those that have to be
// re-created.
type ordered struct {
	*rings
	recipes *recipes
	again   *encodings
	blame   func(member int, err error) error // returns the damage of what is made from a member
}

// outlet takes the bytes of a member.
type outlet interface {
	io.Writer      // returns errOver when nobody needs more
	end(err error) // no more bytes come; err is nil when all have come
}

// errOver comes back for bytes that nobody needs any more.
var errOver = errors.New("nobody needs the blob any more")

// outlet says that it is the turn of member i, waits until somebody has said what becomes of the blob that it makes, and
// returns what takes its bytes. An error is that of ctx, or errClosed.
func (o *ordered) outlet(ctx context.Context, i int) (outlet, error) {
	d := o.recipes.head.made(i).Digest
	wanted, err := o.turn(d)
	switch {
	case err != nil:
		return nil, err
	case !wanted:
		return noOutlet{}, nil
	}
	n, ok := o.recipes.head.recreatedFrom(i)
	if !ok {
		return ringOutlet{o.rings, d}, nil
	}
	recipe, err := o.recipes.of(n)
	if err != nil {
		o.fail(d, err)
		return noOutlet{}, nil
	}
	one, err := o.again.start(ctx, recipe, ringOutlet{o.rings, d}, func(err error) {
		if err != nil {
			o.fail(d, o.blame(i, err))
		}
	})
	if err != nil {
		return nil, err
	}
	o.onRelease(d, one.giveUp)
	return one, nil
}

// finish says that no more members come; err is nil when all have come.
func (o *ordered) finish(err error) {
	o.again.running.Wait()
	o.end(err)
}

// ringOutlet gives the bytes of a blob to its ring.
type ringOutlet struct {
	rings  *rings
	digest digest.Digest
}

func (r ringOutlet) Write(p []byte) (int, error) { return len(p), r.rings.give(r.digest, p) }

func (r ringOutlet) end(err error) {
	if err != nil {
		r.rings.fail(r.digest, err)
	}
}

// noOutlet is where bytes go that nobody wants.
type noOutlet struct{}

func (noOutlet) Write([]byte) (int, error) { return 0, errOver }

func (noOutlet) end(error) {}
