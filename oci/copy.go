package oci

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// Job is one image to copy: where it may come from and where it is to go.
type Job struct {
	Name string       // for the report and for messages
	Root *Node        // the manifest or index, with all below it
	From []Repository // that hold it, the preferred one first; none means the zero Repository
	To   []Target
	// Attached goes where the image goes, after its root and before its tag. From holds it, too.
	Attached []Attached
}

// Target is one place that an image is to be copied to.
type Target struct {
	Repository
	Tag string // empty when the image is to be there by digest only
	// Current is what Tag names before the copy, as far as the caller knows, see [Survey]. A tag that names the image
	// already is not set again: some registries refuse that for tags that must not change.
	Current digest.Digest
	// Whole tells that the caller takes the image to be complete there: nothing of it is looked for, only what is
	// attached to it.
	Whole bool
}

// String returns repository:tag, or the repository alone.
func (t Target) String() string { return Reference{Repository: t.Repository, Tag: t.Tag}.String() }

// CopyOptions says how [Copy] works. The zero value does.
type CopyOptions struct {
	// Transfers is how many requests, of which each may move a blob, are under way at once to each host of the sink; 0
	// means 8.
	Transfers int
	// Patience is how long one host of the sink may hold up the others where they read a blob together: when it stands
	// still, and, when it is slow, beyond three times as long as the blob takes without it. Then it goes on by itself. 0
	// means 10 seconds.
	Patience time.Duration
	// LargestFirst moves large blobs first, so that none is left alone at the end. Without it, and whenever the source
	// can give its blobs only in order, see [OrderedSource], they are taken in the order of a bundle: configs, then
	// layers, each in order of first use.
	LargestFirst bool
	// HoldTags sets the tags after everything else, and none at all when any image failed.
	HoldTags bool
	// KeepAttached leaves the tags of attached manifests that name something else at the sink as they are.
	KeepAttached bool
	// Stop tells the errors after which it is no use to go on, such as a full disk. It gets a *CopyError, and may be
	// called from many goroutines.
	Stop func(error) bool
	// Lost tells the errors after which it is no use to go on with a host of the sink: what was to go there fails at
	// once, with that error. It is called as Stop is, which comes first.
	Lost func(error) bool
	// Events, unless nil, is told what happens. Calls come one at a time, from many goroutines; the copy waits for
	// them, so they have to be short.
	Events func(Event)
}

const defaultTransfers = 8

// EventKind says what an [Event] tells.
type EventKind int

const (
	EventStart      EventKind = iota + 1 // the transfer of a blob begins; Bytes is its size
	EventAdvance                         // Bytes more of it were read
	EventResume                          // reading goes on Bytes further on, as the sink has those; it starts over when < 0
	EventDone                            // the blob is in the repository, where it can be read; Bytes is its size
	EventSkipped                         // the blob was there already
	EventMounted                         // the blob was taken over from another repository
	EventFailed                          // the blob, manifest or tag is not in the repository, see Err
	EventManifest                        // the manifest is in the repository
	EventTag                             // the tag is set
	EventLeftBehind                      // the Repository's host, which held up others, goes on by itself with the blob
)

// Event is one step of a [Copy].
type Event struct {
	Kind       EventKind
	Descriptor Descriptor
	Repository Repository // of the sink
	Tag        string
	Bytes      int64
	Err        error
}

// CopyError is what kept one blob, manifest or tag from its place.
type CopyError struct {
	Op         string // "check", "fetch", "push" or "tag"
	Source     bool   // the side that failed: the source, else the sink
	Repository Repository
	Tag        string // of Op "tag"
	Digest     digest.Digest
	Err        error
}

func (e *CopyError) Error() string {
	place := Reference{Repository: e.Repository, Tag: e.Tag}.String()
	if place == "" {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Digest, e.Err)
	}
	preposition := map[string]string{"check": "in", "fetch": "from", "push": "to", "tag": "as"}[e.Op]
	return fmt.Sprintf("%s %s %s %s: %v", e.Op, e.Digest, preposition, place, e.Err)
}

func (e *CopyError) Unwrap() error { return e.Err }

// ErrHeld is the error of a tag that was not set because another image of the run failed, see CopyOptions.HoldTags.
var ErrHeld = errors.New("tag not set, because other images failed")

// Report is what a [Copy] did.
type Report struct {
	Outcomes []Outcome // for each job, each of its targets, in their order

	// Blobs, manifests not counted, once for each repository that needs them.
	Moved, Skipped, Mounted int
	MovedBytes              int64 // read from the source, what was read twice counted twice
	SkippedBytes            int64 // of blobs that were there already or were mounted
	Manifests               int   // manifests pushed
	Tags                    int   // tags set

	Attached     int           // attached manifests that came to a repository, or to a tag there
	AttachedSame int           // that were there already
	Retagged     []RetaggedTag // tags of attached manifests that named something else before, or still do
}

// RetaggedTag is the tag of an attached manifest that named something else.
type RetaggedTag struct {
	Repository Repository
	Tag        string
	From, To   digest.Digest
	Kept       bool // it still does, see CopyOptions.KeepAttached
}

// Outcome is how it went with one target of one job.
type Outcome struct {
	Job        string
	Target     Target
	Descriptor Descriptor // of the root
	// Err is nil when the image is complete at the target and has its tag. It wraps a [*CopyError] for each thing that
	// failed, or [ErrHeld], or what ended the copy early.
	Err error
}

// Failed returns the outcomes with an error.
func (r *Report) Failed() []Outcome {
	var failed []Outcome
	for _, o := range r.Outcomes {
		if o.Err != nil {
			failed = append(failed, o)
		}
	}
	return failed
}

// OrderedSource is a [Source] that can give each blob only once and in one order, as from a pipe. Copy opens the blobs
// in that order, while earlier ones may still be read: then Open is to wait until those have been closed or released.
// No tag is set before Finish has returned nil, but for a [SeenSource].
type OrderedSource interface {
	Source
	// InOrder returns the blobs in their order. Those of the copy that are not among them are opened last.
	InOrder() []Descriptor
	// Release tells that the blob d is not going to be opened, or not again. It comes once for each blob of InOrder,
	// unless the copy ends early, and does not wait.
	Release(d Descriptor)
	// Finish waits for the end of the source, after all blobs have been released, and returns what was wrong with any
	// part of it.
	Finish(ctx context.Context) error
}

// SeenSource is an [OrderedSource] whose end may have been seen before the copy, as that of a file that is read in place.
type SeenSource interface {
	OrderedSource
	// EndSeen reports whether what Finish would find wrong is known already, so that tags need not wait for it.
	EndSeen() bool
}

// Copy moves the images of jobs from src to dst.
//
// Each blob is one task, whatever number of images share it. A repository that has it is left alone; else, where dst
// is a [Mounter], it is mounted from one of the same host that has it, which may be one of the source, and else pushed,
// so that a host gets each blob once. Several hosts read it together, so that the source gives it once, too; none of them
// is kept from its own by another that is slow or fails, see CopyOptions.Patience. A repository of the source that does not give it is followed by the next one that should have it. A manifest
// goes up when all that it points to has been found or put into that very repository in this run, by digest; the root
// of an image is last, then its tags. One whose Target has a tag goes up with that tag alone, unless something is
// attached to the image: that follows the image by digest, and precedes its tag.
//
// What fails fails every image that needs it and no other; Copy goes on with those. They are in the report, which is
// never nil. The error is nil unless the copy ended early: ctx ended, CopyOptions.Stop said so, or the jobs make no
// sense. Copy returns after all that it started has ended.
func Copy(ctx context.Context, src Source, dst Sink, jobs []Job, o CopyOptions) (*Report, error) {
	if o.Transfers <= 0 {
		o.Transfers = defaultTransfers
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &copier{src: src, dst: dst, o: o, cancel: cancel}
	if err := c.plan(jobs); err != nil {
		return c.report(err), err
	}
	defer c.closeFans()
	c.begin()
	c.work(ctx)
	if c.ordered != nil && ctx.Err() == nil {
		if err := c.ordered.Finish(ctx); err != nil {
			cancel(err)
		}
	}
	if c.holdsTags() && ctx.Err() == nil {
		c.releaseAttached()
		c.work(ctx)
		c.releaseTags()
		c.work(ctx)
	}
	if ctx.Err() != nil {
		err := context.Cause(ctx)
		return c.report(err), err
	}
	return c.report(nil), nil
}
