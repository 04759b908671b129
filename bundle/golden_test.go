package bundle

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/compress"
)

var update = flag.Bool("update", false, "write the golden bundle of the format version that is written now")

// goldens are bundles of every released format version, which are read for ever, and their content ids.
var goldens = map[string]string{
	"v1.tar.zst": "185f60535a1ed309b3a551d9132af3a5f7ecc69a7e920082862aa33362daeb15",
	"v1.tar.xz":  "185f60535a1ed309b3a551d9132af3a5f7ecc69a7e920082862aa33362daeb15",
	"v1.tar":     "185f60535a1ed309b3a551d9132af3a5f7ecc69a7e920082862aa33362daeb15",

	"v1-referrers.tar.zst": "7cd71f2498891c1006e7dcf6d1f1e2aee442b38739f667d52fe79578486e597a",
	"v1-merged.tar.zst":    "54d713cffc233adb38549a43216b08049cfab1f73997a321c6013aae37456f18",
	"v1-compact.tar.zst":   "d2c8e810800ae99917eb7040ea0831a11897d6ff59f5d944245c1eb55cb0bde1",
	"v1-sources.tar.zst":   "6af4ce30b5619a4bbfaa85a7e19c5642ab346a5319b5f06c112113e17b47028e",
}

func goldenPath(name string) string { return filepath.Join("..", "testdata", "bundles", name) }

// goldenFixture is what is in the golden bundle of that name.
func goldenFixture(t testing.TB, name string) *fixture {
	f := smallFixture(t)
	if strings.HasPrefix(name, "v1-referrers") {
		f = signedFixture(t)
	}
	if strings.HasPrefix(name, "v1-merged") {
		f = mergedFixture(t)
	}
	if strings.HasPrefix(name, "v1-compact") {
		f = ungzippedFixture(t)
	}
	if strings.HasPrefix(name, "v1-sources") {
		f = backupFixture(t)
	}
	created := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.contents.Created = &created
	f.contents.Labels = map[string]string{"site": "north"}
	f.contents.Missing = []Missing{{Name: "docker.io/library/gone:1", Reason: "not found"}}
	return f
}

func TestGolden(t *testing.T) {
	for name, id := range goldens {
		if *update {
			format, err := compress.FormatByName(name)
			if err != nil {
				t.Fatal(err)
			}
			raw := goldenFixture(t, name).writeAll(compress.WriterOptions{Format: format})
			if err := os.WriteFile(goldenPath(name), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(goldenPath(name))
		if err != nil {
			t.Fatal(err)
		}
		report, err := Verify(t.Context(), bytes.NewReader(raw), int64(len(raw)), VerifyOptions{})
		if err != nil || len(report.Damage) > 0 || report.Images != 4 {
			t.Errorf("%s: %+v, %v", name, report, err)
			continue
		}
		if report.ContentID != id {
			t.Errorf("%s: content id %s, want %s", name, report.ContentID, id)
		}
		if err := drain(t, raw); err != nil {
			t.Errorf("%s: from a pipe: %v", name, err)
		}
	}
}

// TestContentIDForEver: equal input gives an equal content id, in every version of ferry that writes format version 1.
func TestContentIDForEver(t *testing.T) {
	for _, name := range []string{"v1.tar", "v1-referrers.tar.zst", "v1-merged.tar.zst", "v1-compact.tar.zst", "v1-sources.tar.zst"} {
		b, err := openBytes(t, goldenFixture(t, name).writeAll(compress.WriterOptions{}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if want := goldens[name]; b.ContentID() != want {
			t.Errorf("%s: content id %s, want %s", name, b.ContentID(), want)
		}
	}
}
