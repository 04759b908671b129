package bundle

import (
	"context"
	"fmt"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// Begin plans the bundle of c and begins to write it to the output, as [NewWriter] does. Where an earlier run of the same program has
// finished volumes of the same bundle, written with the same options, these are proven and the Writer goes on behind them; see
// Writer.Resumed. All other volumes of this name are removed.
func (o *Output) Begin(ctx context.Context, c Contents, options compress.WriterOptions) (*Writer, error) {
	l, err := newLayout(c)
	if err != nil {
		return nil, err
	}
	v, ok := o.to.(*volumes)
	if !ok {
		return newWriter(o, l, options)
	}
	r, err := v.begin(ctx, v.headOf(l, options))
	if err != nil {
		return nil, err
	}
	if n := len(r.frames); n > 0 {
		o.stand(r.frames[n-1].End, r.have, r.whole)
	} else {
		o.stand(0, r.have, r.whole)
	}
	options.Resume, options.OnFrame = r.frames, v.journal.frame
	return newWriter(o, l, options)
}

// Held returns the blobs that are in the finished volumes of an earlier run, with which Begin will go on when it is given the same. They
// are the first ones of the bundle, and a Writer does not ask for them again.
func (o *Output) Held(ctx context.Context, c Contents, options compress.WriterOptions) ([]oci.Descriptor, error) {
	v, ok := o.to.(*volumes)
	if !ok {
		return nil, nil
	}
	l, err := newLayout(c)
	if err != nil {
		return nil, err
	}
	r, err := v.recall(ctx, v.headOf(l, options))
	if err != nil {
		return nil, err
	}
	plain := int64(0)
	for _, f := range r.frames {
		plain += f.Plain
	}
	next, _ := l.resumeAt(plain)
	return l.blobsBefore(next), nil
}

// HeldBytes returns how much of the bundle the volumes hold that Held has found, in bytes.
func (o *Output) HeldBytes() int64 {
	if v, ok := o.to.(*volumes); ok && v.known != nil {
		return v.known.have
	}
	return 0
}

// headOf returns the first line of the journal of a bundle.
func (v *volumes) headOf(l *layout, o compress.WriterOptions) journalHead {
	long := int64(0)
	if l.compact != nil {
		long = l.compact.longFrame()
	}
	return journalHead{
		Format: journalFormat, Version: journalVersion, Writer: v.Writer, ContentID: l.contentID(), Volume: v.Volume, Digits: v.digits,
		Options: fmt.Sprintf("%v %v, frames of %d and %d with window %d, xz %q, zstd %q",
			o.Format, o.Level, o.FrameSize, long, o.Long.Window, o.XZProgram, o.ZstdProgram),
	}
}

// resumeAt returns the segment that a writer goes on with when the file has the tar up to the plain offset at, and how many bytes of it
// are there already. The members of long frames are one as far as that goes.
func (l *layout) resumeAt(at int64) (next int, skip int64) {
	for next < len(l.segments) && l.segments[next].end() <= at {
		next++
	}
	if run := l.long; run.from < run.to && next > l.blobs+run.from && next < l.blobs+run.to {
		next = l.blobs + run.from
	}
	if next == len(l.segments) {
		return next, max(0, at-l.segments[next-1].end())
	}
	return next, max(0, at-l.segments[next].offset)
}

// blobsBefore returns the blobs that a source gives and that lie before segment next.
func (l *layout) blobsBefore(next int) []oci.Descriptor {
	var all []oci.Descriptor
	for i, m := range l.head.Members {
		if l.blobs+i < next && (l.compact == nil || l.compact.own[m.Digest] == nil) {
			all = append(all, m.Descriptor())
		}
	}
	return all
}
