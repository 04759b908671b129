package main

import (
	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// copyWatch shows the progress of a copy: each blob counts once, whatever number of repositories get it, and no byte
// counts twice that was read twice. Its event is for oci.CopyOptions, which calls it from one goroutine at a time.
type copyWatch struct {
	std      *stdio
	progress *progress
	at       map[watchedPlace]int64  // where the transfer of a blob stands
	counted  map[digest.Digest]int64 // how much of it was shown: as much as any repository has
}

type watchedPlace struct {
	repo   oci.Repository
	digest digest.Digest
}

// newCopyWatch begins to show the copy of jobs; what names it. End must be called.
func newCopyWatch(std *stdio, what string, jobs []oci.Job) *copyWatch {
	var roots []*oci.Node
	for _, j := range jobs {
		roots = append(roots, j.Roots()...)
	}
	_, configs, layers := oci.Blobs(roots...)
	total := int64(0)
	for _, d := range append(configs, layers...) {
		total += d.Size
	}
	w := &copyWatch{std: std, at: map[watchedPlace]int64{}, counted: map[digest.Digest]int64{}}
	if total > 0 {
		w.progress = std.progress(what, total)
	}
	return w
}

// event takes in one step of the copy.
func (w *copyWatch) event(e oci.Event) {
	d := e.Descriptor
	place := watchedPlace{e.Repository, d.Digest}
	switch e.Kind {
	case oci.EventStart:
		w.at[place] = 0
	case oci.EventAdvance, oci.EventResume:
		w.at[place] += e.Bytes
		w.count(d, w.at[place])
	case oci.EventDone:
		w.count(d, d.Size)
	case oci.EventSkipped, oci.EventMounted:
		w.count(d, d.Size)
		if e.Kind == oci.EventSkipped {
			w.std.detail("there already: %s in %s", d.Digest, e.Repository)
		} else {
			w.std.detail("mounted: %s in %s", d.Digest, e.Repository)
		}
	case oci.EventFailed:
		w.std.detail("failed: %v", e.Err)
	case oci.EventLeftBehind:
		w.std.detail("%s holds up the other targets, and reads %s by itself", e.Repository.Host, d.Digest)
	case oci.EventTag:
		w.std.detail("tagged: %s:%s is %s", e.Repository, e.Tag, d.Digest)
	}
}

// count shows that the first n bytes of the blob are done.
func (w *copyWatch) count(d oci.Descriptor, n int64) {
	if more := min(n, d.Size) - w.counted[d.Digest]; more > 0 {
		w.counted[d.Digest] += more
		w.progress.add(more)
	}
}

func (w *copyWatch) end() { w.progress.end() }
