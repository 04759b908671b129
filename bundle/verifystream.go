package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
)

// VerifyStream proves a bundle that is read once and in order, as from disks of which one is there at a time. It proves what
// [Verify] does, but ends at the first damage of the frames: what is behind that counts as not proven, and is not in the report.
// The error is for what is no bundle, for a bundle whose head is damaged (ErrCorrupt), for what r says when it cannot
// go on with a volume (*MissingError), and for ctx, at whose end r has to fail.
func VerifyStream(ctx context.Context, r io.Reader, o VerifyOptions) (*Report, error) {
	in := &countedReader{r: r, sum: sha256.New(), progress: o.Progress}
	s, err := OpenStream(in, o.Options)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	v := &streamVerifier{stream: s, proven: map[digest.Digest]bool{}}
	if err := v.run(ctx, cmp.Or(o.Jobs, runtime.GOMAXPROCS(0))); err != nil {
		return nil, err
	}
	return v.report(ctx, in, o.Sum)
}

// countedReader counts and hashes what is read.
type countedReader struct {
	r        io.Reader
	n        int64
	sum      hash.Hash
	progress func(int64)
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.sum.Write(p[:n])
	if r.progress != nil {
		r.progress(int64(n))
	}
	return n, err
}

// streamVerifier is one run of VerifyStream.
type streamVerifier struct {
	stream *Stream
	end    error // why the stream ended early

	mu     sync.Mutex
	proven map[digest.Digest]bool // blobs that come in order
	damage []Damage
}

// run reads the stream to its end and proves all blobs, some at a time.
func (v *streamVerifier) run(ctx context.Context, jobs int) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs + 1)
	for _, d := range v.stream.InOrder() {
		group.Go(func() error {
			v.prove(gctx, d)
			return gctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	v.end = v.stream.Finish(ctx)
	if isMissing(v.end) || ctx.Err() != nil {
		return v.end
	}
	return nil
}

// prove reads the blob d when it comes.
func (v *streamVerifier) prove(ctx context.Context, d oci.Descriptor) {
	defer v.stream.Release(d)
	r, err := v.stream.Open(ctx, oci.Repository{}, d, 0)
	if err == nil {
		_, err = io.Copy(io.Discard, oci.Verify(r, d))
		r.Close()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err == nil:
		v.proven[d.Digest] = true
	case errors.Is(err, ErrCorrupt) || errors.Is(err, oci.ErrCorrupt):
		v.hurt(v.damageOf(d, err))
	}
}

// damageOf returns the damage of the blob d.
func (v *streamVerifier) damageOf(d oci.Descriptor, err error) Damage {
	h := v.stream.layout.head
	return h.damage(h.memberOf(v.stream.blobs[d.Digest]), err)
}

// hurt notes damage, once for all blobs that fail with it.
func (v *streamVerifier) hurt(d Damage) {
	if !slices.ContainsFunc(v.damage, func(known Damage) bool { return known.Member == d.Member && known.Reason == d.Reason }) {
		v.damage = append(v.damage, d)
	}
}

func (v *streamVerifier) report(ctx context.Context, in *countedReader, want *[32]byte) (*Report, error) {
	s := v.stream
	h := s.layout.head
	if v.end != nil {
		var known *DamageError
		if !errors.As(v.end, &known) {
			known = &DamageError{Damage: Damage{Member: wholeFile, Reason: v.end.Error()}}
		}
		v.hurt(known.Damage)
	}
	r := &Report{Head: h, ContentID: s.ContentID(), FileSize: in.n, Damage: append(v.damage, s.recipes.damage()...)}
	first := s.first - s.layout.blobs
	hit := map[string]bool{}
	for i, m := range h.Members {
		switch made := h.made(i); {
		case i >= first && !v.proven[made.Digest]:
			for _, name := range h.ImagesWith(made.Digest) {
				hit[name] = true
			}
			continue
		case made.Digest != m.Digest:
			r.Recreated++
			r.RecreatedBytes += made.Size
		}
		r.Members++
		r.Bytes += m.Size
	}
	graphs := &verifier{bundle: &Bundle{layout: s.layout, blobs: s.blobs, recipes: s.recipes}, manifests: s.manifests}
	if err := graphs.checkGraphs(ctx, r, hit); err != nil {
		return nil, err
	}
	if v.end == nil {
		r.FileSum = hex.EncodeToString(in.sum.Sum(nil))
	}
	if want != nil && len(r.Damage) == 0 && r.FileSum != hex.EncodeToString(want[:]) {
		r.Damage = append(r.Damage, Damage{Member: wholeFile, Reason: fmt.Sprintf("its sha256 is %s, want %x", r.FileSum, want[:])})
	}
	return r, nil
}
