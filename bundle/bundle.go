// Package bundle is ferry's file format: container images as an OCI layout in a seekable, compressed tar. FORMAT.md
// beside this file describes every byte.
//
// [NewWriter] writes a bundle whose contents are all known in advance, blob after blob. With [Compact] the bundle has plain
// layers in place of gzip ones, and recipes by which these are re-created. [Open] reads one in place: a [Bundle] is an
// oci.Source that decodes only what is asked for, and its [Pass] one for all of a compact bundle. [OpenStream] reads one
// from a pipe, in order.
// [Verify] reads everything and trusts nothing. [ReadHead] reads no more than the table of contents.
//
// A bundle is hostile input: every length is checked before it becomes an allocation or an offset, and whatever is
// wrong with a file comes back as an error that is [ErrCorrupt], [ErrVersion] or [ErrNotBundle].
package bundle

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

var (
	// ErrCorrupt comes back when the bundle is damaged: what it holds is not what it says. [DamageError] has the place.
	ErrCorrupt = errors.New("the bundle is damaged")
	// ErrNotBundle comes back when the file is not a ferry bundle at all.
	ErrNotBundle = errors.New("not a ferry bundle")
	// ErrVersion comes back when the bundle needs a later ferry.
	ErrVersion = errors.New("the bundle needs a later version of ferry")
)

// Damage is one thing that is wrong with a bundle and what it hits.
type Damage struct {
	// Member is the name of the tar member that is hurt, or the part of the archive's frame: "seek table".
	Member string `json:"member"`
	// Digest of the blob that is hurt, empty for what is not a blob.
	Digest digest.Digest `json:"digest,omitempty"`
	// Images that need the member, sorted. Empty when no image does.
	Images []string `json:"images,omitempty"`
	// Offset and Length are the range of the file that holds the damage, as narrow as the frames allow. Length is 0
	// when the place in the file is not known.
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Reason string `json:"reason"`
	// Volume is where in the volumes of the bundle the range begins. It is nil for a bundle that is one file.
	Volume *VolumePlace `json:"volume,omitempty"`
}

func (d Damage) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", d.Member, d.Reason)
	if d.Length > 0 {
		fmt.Fprintf(&b, " (bytes %d to %d of the file", d.Offset, d.Offset+d.Length-1)
		if d.Volume != nil {
			fmt.Fprintf(&b, ": from byte %d of %s on", d.Volume.Offset, d.Volume.Name)
		}
		b.WriteString(")")
	}
	return b.String()
}

// DamageError is a Damage as an error. It is an [ErrCorrupt].
type DamageError struct {
	Damage
	Err error // what the reader below said, nil when there was nothing
}

func (e *DamageError) Error() string { return e.Damage.String() }

func (e *DamageError) Unwrap() error { return e.Err }

func (e *DamageError) Is(target error) bool { return target == ErrCorrupt }

// corrupt returns a DamageError for a part of the bundle whose place in the file does not matter.
func corrupt(member, format string, args ...any) error {
	return &DamageError{Damage: Damage{Member: member, Reason: fmt.Sprintf(format, args...)}}
}
