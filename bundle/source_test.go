package bundle

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/compress"
)

// backupFixture is smallFixture with all that can be known of registries that were listed.
func backupFixture(t testing.TB) *fixture {
	f := smallFixture(t)
	since := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	f.contents.Sources = []Source{
		{
			Registry: "quay.io", Path: "a", Harbor: true, Listed: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC),
			Filters: &Filters{
				Projects: []string{"a*"}, Repositories: []string{"a/*"}, Tags: []string{"<2", "v?"}, Since: &since, Digests: true,
			},
			Repositories: 1, Images: 2, Caches: []string{"hub"}, Gone: []string{"quay.io/a/app:0"},
		},
		{Registry: "registry.k8s.io", Listed: since, Repositories: 1, Images: 1},
	}
	f.contents.Projects = []Project{ // the layout sorts them
		{Registry: "quay.io", Name: "b"},
		{
			Registry: "quay.io", Name: "a", Public: true, Quota: 10 << 30, Metadata: map[string]string{"auto_scan": "true"},
			Retention: []byte(`{"algorithm":"or"}`), Immutability: []byte(`[{"disabled":false}]`), Labels: []byte(`[{"name":"prod"}]`),
		},
	}
	return f
}

func TestSourcesRoundTrip(t *testing.T) {
	f := backupFixture(t)
	raw := f.write(compress.WriterOptions{Format: compress.Zstd})
	h, _, err := ReadHead(bytes.NewReader(raw), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h.Sources, f.contents.Sources) {
		t.Errorf("sources %+v, want %+v", h.Sources, f.contents.Sources)
	}
	want := []Project{f.contents.Projects[1], f.contents.Projects[0]}
	if !reflect.DeepEqual(h.Projects, want) {
		t.Errorf("projects %+v, want %+v", h.Projects, want)
	}
	report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A bundle that is no backup says nothing of sources, as those of the first writers.
func TestNoSources(t *testing.T) {
	l, err := newLayout(smallFixture(t).contents)
	if err != nil {
		t.Fatal(err)
	}
	if head := l.segments[2].raw; bytes.Contains(head, []byte("sources")) || bytes.Contains(head, []byte("projects")) {
		t.Errorf("%s", head)
	}
}

func TestForgedSources(t *testing.T) {
	long := strings.Repeat("x", maxNameLen+1)
	for name, change := range map[string]func(h *Head){
		"source without registry": func(h *Head) { h.Sources[0].Registry = "" },
		"long path":               func(h *Head) { h.Sources[0].Path = long },
		"too many sources":        func(h *Head) { h.Sources = slices.Repeat(h.Sources[:1], maxSources+1) },
		"negative count":          func(h *Head) { h.Sources[0].Images = -1 },
		"long name that is gone":  func(h *Head) { h.Sources[0].Gone = []string{long} },
		"cache without name":      func(h *Head) { h.Sources[0].Caches = []string{""} },
		"too many names": func(h *Head) {
			h.Sources[0].Gone = slices.Repeat([]string{"a"}, maxSourceNames)
		},
		"too many patterns":    func(h *Head) { h.Sources[0].Filters.Tags = slices.Repeat([]string{"a"}, maxPatterns+1) },
		"long pattern":         func(h *Head) { h.Sources[0].Filters.Repositories = []string{long} },
		"project twice":        func(h *Head) { h.Projects[1] = h.Projects[0] },
		"projects in no order": func(h *Head) { slices.Reverse(h.Projects) },
		"project without name": func(h *Head) { h.Projects[0].Name = "" },
		"negative quota":       func(h *Head) { h.Projects[0].Quota = -2 },
		"long setting":         func(h *Head) { h.Projects[0].Metadata = map[string]string{"a": strings.Repeat("x", maxLabelLen+1)} },
		"huge labels": func(h *Head) {
			h.Projects[0].Labels = json.RawMessage(`"` + strings.Repeat("x", maxSettingJSON) + `"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := forge(t, backupFixture(t), change).write(t)
			report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
			if err == nil && len(report.Damage) == 0 {
				t.Fatal("verify found nothing")
			}
			if err != nil && !isBundleError(err) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}
