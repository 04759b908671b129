package gzip

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// TestManyMembersOfSomeEngines holds that the recipe of many members is the same however many of them are tried at once, also
// where one of another encoder, or of none, stands among them.
func TestManyMembersOfSomeEngines(t *testing.T) {
	header := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	engines := []Engine{{ID: Golang, Level: 5}, {ID: Golang, Level: 1}, {ID: Zlib, Level: 4, Variant: 8}, {}}
	plain := text(120_000, 31)
	blobs := make([][]byte, len(engines)) // each time the same member: the search of the begin is the long part
	for i, e := range engines {
		if e.ID == Verbatim {
			blobs[i] = oddMember(t, header, "odd")
		} else {
			blobs[i] = member(t, e, header, plain)
		}
	}
	var blob []byte
	var want []int
	for i := range 100 {
		n := 0
		switch {
		case i == 25 || i == 70:
			n = 3
		case i >= 40 && i < 50:
			n = 1
		case i >= 90:
			n = 2
		}
		want = append(want, n)
		blob = append(blob, blobs[n]...)
	}
	var first []byte
	for _, parallel := range []int{1, 2, 5} {
		r, err := Find(t.Context(), bytes.NewReader(blob), io.Discard, FindOptions{Parallel: parallel})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for i := range r.Members {
			got = append(got, slices.Index(engines, r.Engines[r.Members[i].Engine]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("parallel %d: got the engines %v, want %v", parallel, got, want)
		}
		if first == nil {
			first = r.Encode()
			checkRecipe(t, r, blob, gunzip(t, blob), 2)
		} else if !bytes.Equal(r.Encode(), first) {
			t.Errorf("parallel %d: another recipe than with 1", parallel)
		}
	}
}
