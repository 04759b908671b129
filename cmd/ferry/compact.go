package main

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
)

// compactSummary tells what became of gzip layers in a compact bundle: of one image, or of all.
type compactSummary struct {
	layerSum              // those that are re-created
	Engines  []engineSum  `json:"engines"`
	Kept     []keptReason `json:"kept"` // those that are as they are
}

// layerSum counts layers that are re-created. All sizes are in bytes.
type layerSum struct {
	Layers int   `json:"layers"`
	Gzip   int64 `json:"gzip"`
	Plain  int64 `json:"plain"`
	Recipe int64 `json:"recipe"`
}

// engineSum is the layers of one program.
type engineSum struct {
	Engine string `json:"engine"`
	layerSum
}

// keptReason is the layers that are as they are for one reason.
type keptReason struct {
	Reason string `json:"reason"`
	Layers int    `json:"layers"`
	Bytes  int64  `json:"bytes"`
}

// summarizeCompact tells of the gzip layers among the blobs of these numbers, as a head has them. It is nil for a bundle that
// is not compact. reasons has those of the layers that are as they are, see keptReasons.
func summarizeCompact(h *bundle.Head, reasons map[int]string, numbers iter.Seq[int]) *compactSummary {
	if !h.IsCompact() {
		return nil
	}
	s := &compactSummary{Engines: []engineSum{}, Kept: []keptReason{}}
	engines, kept := map[string]layerSum{}, map[string]keptReason{}
	for n := range numbers {
		if n >= len(h.Members) {
			r := h.Recreated[n-len(h.Members)]
			one := layerSum{1, r.Size, h.Members[r.Plain].Size, h.Members[r.Recipe].Size}
			s.layerSum = s.plus(one)
			engines[r.Engine] = engines[r.Engine].plus(one)
		} else if reason := reasons[n]; reason != "" {
			kept[reason] = keptReason{reason, kept[reason].Layers + 1, kept[reason].Bytes + h.Members[n].Size}
		}
	}
	for engine, sum := range engines {
		s.Engines = append(s.Engines, engineSum{engine, sum})
	}
	slices.SortFunc(s.Engines, func(a, b engineSum) int { return cmp.Or(cmp.Compare(b.Gzip, a.Gzip), cmp.Compare(a.Engine, b.Engine)) })
	s.Kept = slices.SortedFunc(maps.Values(kept), func(a, b keptReason) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// keptReasons returns, by number, why gzip layers are as they are, without what is of one layer alone.
func keptReasons(h *bundle.Head) map[int]string {
	reasons := make(map[int]string, len(h.Kept))
	for _, k := range h.Kept {
		reasons[k.Blob], _, _ = strings.Cut(k.Reason, ":")
	}
	return reasons
}

func (s layerSum) plus(o layerSum) layerSum {
	return layerSum{s.Layers + o.Layers, s.Gzip + o.Gzip, s.Plain + o.Plain, s.Recipe + o.Recipe}
}

// kept returns how many layers are as they are.
func (s *compactSummary) kept() int {
	n := 0
	for _, k := range s.Kept {
		n += k.Layers
	}
	return n
}

// lines returns what there is to tell: a line for the layers that are un-gzipped, and one for each reason why others are not.
func (s *compactSummary) lines() []string {
	const most = 8 // a hostile head can have any number of engines and reasons
	line := fmt.Sprintf("un-gzipped  %d of %s", s.Layers, plural(s.Layers+s.kept(), "layer"))
	if s.Layers > 0 {
		line += fmt.Sprintf(", %s to %s: ", formatSize(s.Gzip), formatSize(s.Plain))
	}
	var engines []string
	for _, e := range s.Engines[:min(len(s.Engines), most)] {
		engines = append(engines, fmt.Sprintf("%d by %s", e.Layers, e.Engine))
	}
	lines := []string{oneLine(line + strings.Join(engines, ", "))}
	for _, k := range s.Kept[:min(len(s.Kept), most)] {
		lines = append(lines, oneLine(fmt.Sprintf("as it was   %s, %s: %s", plural(k.Layers, "layer"), formatSize(k.Bytes), k.Reason)))
	}
	return lines
}
