package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ferry-oci/ferry/compress"
)

// isMissing reports whether err comes of a volume that is missing.
func isMissing(err error) bool {
	var missing *MissingError
	return errors.As(err, &missing)
}

// Lacking returns the names of the images that need something of a volume which is missing, sorted. The others are there as a
// whole.
func (b *Bundle) Lacking() []string {
	if b.set == nil || b.set.MissingError() == nil {
		return nil
	}
	h := b.layout.head
	there := make([]bool, len(h.Members)+len(h.Recreated))
	for i, m := range h.Members {
		there[i] = b.isThere(m.Offset, span(m.Size))
	}
	for i, r := range h.Recreated {
		there[len(h.Members)+i] = there[r.Plain] && there[r.Recipe]
	}
	var names []string
	for _, img := range h.Images {
		if !b.isWhole(img, there) {
			names = append(names, img.Name)
		}
	}
	return names
}

// isWhole reports whether all blobs of the image are there.
func (b *Bundle) isWhole(img Image, there []bool) bool {
	for _, o := range img.Origins() {
		if i, ok := b.blobs[o.Digest]; !ok || !there[i] {
			return false
		}
	}
	for m := range img.AllManifests() {
		if i, ok := b.blobs[m.Digest]; !ok || !there[i] || slices.ContainsFunc(m.Blobs, func(n int) bool { return !there[n] }) {
			return false
		}
	}
	return true
}

// isThere reports whether all frames that hold the n plain bytes from offset on are known and in volumes that are there.
func (b *Bundle) isThere(offset, n int64) bool {
	if b.set == nil {
		return true
	}
	frames := b.table.Frames
	end := offset + n
	for i := b.table.Find(offset); offset < end; i++ {
		if i == len(frames) || offset < frames[i].PlainOffset {
			return false
		}
		f := frames[i]
		next := f.PlainOffset + f.PlainSize
		if next <= offset || !b.set.has(f.Offset, f.Offset+f.Size) { // next <= offset: a gap before offset
			return false
		}
		offset = next
	}
	return true
}

// maxStampSearch is how many bytes of a volume are searched for a stamp when there is none where one should be.
const maxStampSearch = 32 << 20

// checkVolumes proves of each volume, by the first stamp in it, that it belongs to this bundle. A stamp that is merely damaged is
// no reason to refuse it.
func (b *Bundle) checkVolumes() error {
	if b.set == nil || b.set.plain || b.table.Format != compress.Zstd || b.layout.rebuilt {
		return nil
	}
	for n := range b.set.volumes {
		start := int64(n-1) * b.set.volumeSize
		end := start + b.set.end(n)
		i, _ := slices.BinarySearchFunc(b.table.Frames, start, func(f compress.Frame, at int64) int { return cmp.Compare(f.Offset-f.Lead, at) })
		if i == len(b.table.Frames) || b.table.Frames[i].Lead == 0 || b.table.Frames[i].Offset > end {
			continue
		}
		f := b.table.Frames[i]
		id, ok := compress.FindStamp(b.set, f.Offset-f.Lead, f.Offset)
		if !ok {
			id, ok = compress.FindStamp(b.set, start, min(end, start+maxStampSearch))
		}
		if ok && isOther(id, b.layout.id) {
			return &DamageError{Damage: Damage{
				Member: b.set.VolumeName(n), Reason: fmt.Sprintf("it is of another bundle: content id %x, and %x in the head", id, b.layout.id),
			}}
		}
	}
	return nil
}

// mixed returns an error when the first stamps of volumes are those of different bundles, for a set whose table fits no file.
func (s *Set) mixed(format compress.Format) error {
	if s == nil || s.plain || format != compress.Zstd {
		return nil
	}
	var first [32]byte
	from := 0
	for n := 1; n <= s.count; n++ {
		if _, ok := s.volumes[n]; !ok {
			continue
		}
		start := int64(n-1) * s.volumeSize
		id, ok := compress.FindStamp(s, start, start+min(s.end(n), maxStampSearch))
		switch {
		case !ok:
		case from == 0:
			first, from = id, n
		case isOther(id, first):
			return &DamageError{Damage: Damage{
				Member: s.VolumeName(n),
				Reason: fmt.Sprintf("it is of another bundle than %s: content id %x, and %x there", s.VolumeName(from), id, first),
			}}
		}
	}
	return nil
}

// isOther tells a content id that is another one from one that was damaged.
func isOther(a, b [32]byte) bool {
	differing := 0
	for i := range a {
		if a[i] != b[i] {
			differing++
		}
	}
	return differing > len(a)/2
}
