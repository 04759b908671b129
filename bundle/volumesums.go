package bundle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// volumeSums proves volumes that are read in order against NAME.sha256.
type volumeSums struct {
	set  *Set
	n    int   // of the volume that comes next
	left int64 // bytes of it
	sum  hash.Hash
	bad  error // why not all of it could be read
	got  map[int][32]byte
}

// newVolumeSums returns nil, which takes no notice of anything, when there is nothing to prove.
func newVolumeSums(set *Set) *volumeSums {
	if set == nil || set.list == nil || set.volumeSize == 0 {
		return nil
	}
	return &volumeSums{set: set, n: 1, left: set.end(1), sum: sha256.New(), got: map[int][32]byte{}}
}

// add takes the next bytes of the whole, which all lie in one volume, or why they could not be read.
func (s *volumeSums) add(raw []byte, err error) {
	if s == nil || len(raw) == 0 {
		return
	}
	if s.bad == nil {
		s.sum.Write(raw)
	}
	s.skip(int64(len(raw)), err)
}

// skip passes over the next n bytes, which all lie in one volume; err is why they are not given, nil when they were.
func (s *volumeSums) skip(n int64, err error) {
	if s == nil {
		return
	}
	s.bad = cmp.Or(s.bad, err)
	if s.left -= n; s.left > 0 {
		return
	}
	if s.bad == nil {
		s.got[s.n] = [32]byte(s.sum.Sum(nil))
	}
	s.sum.Reset()
	s.n, s.bad = s.n+1, nil
	s.left = s.set.end(s.n)
}

// damage returns the volumes that are not what the list says though nothing else is known to be wrong with them.
func (s *volumeSums) damage(known []Damage) []Damage {
	if s == nil {
		return nil
	}
	hurt := map[int]bool{}
	for _, d := range known {
		if d.Length > 0 && s.set.has(d.Offset, d.Offset+d.Length) {
			first, _ := s.set.find(d.Offset)
			last, _ := s.set.find(d.Offset + d.Length - 1)
			for n := first; n <= last; n++ {
				hurt[n] = true
			}
		}
	}
	var wrong []Damage
	for n := 1; n <= s.set.count; n++ {
		got, ok := s.got[n]
		if want := s.set.list.Volumes[n-1]; !ok || got == want || hurt[n] {
			continue
		}
		wrong = append(wrong, Damage{
			Member: s.set.VolumeName(n), Offset: int64(n-1) * s.set.volumeSize, Length: s.set.end(n),
			Reason: s.set.wrongSum(n, got),
		})
	}
	return wrong
}

// wrongSum says that volume n has another sha256 than it should.
func (s *Set) wrongSum(n int, got [32]byte) string {
	return fmt.Sprintf("its sha256 is %s, want %s", hex.EncodeToString(got[:]), hex.EncodeToString(s.list.Volumes[n-1][:]))
}
