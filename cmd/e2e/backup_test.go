package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// A whole registry, listed by its catalog, goes into one bundle and out again; or by its list to another registry.
func TestBackup(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		commands func(w *world) [][]string
	}{
		{"pack --from", func(w *world) [][]string {
			return [][]string{
				{"pack", "--from", w.source.Host(), "-o", "backup.tar.zst"},
				{"verify", "backup.tar.zst"},
				{"unpack", "backup.tar.zst", w.to()},
			}
		}},
		{"list, copy", func(w *world) [][]string {
			listed := w.ok("list", w.source.Host()).stdout
			var want []string
			for _, image := range w.images {
				want = append(want, w.source.Host()+"/"+image.Repository+":"+image.Tag)
			}
			slices.Sort(want)
			if got := strings.Split(strings.TrimSpace(listed), "\n"); !slices.Equal(got, want) {
				t.Errorf("list prints %q, want %q", got, want)
			}
			w.write("listed", listed)
			return [][]string{{"copy", "-f", "listed", w.to()}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution.Options{Users: users}, distribution.Options{})
			w.login("ann", "secret", w.source.Host())
			for _, command := range test.commands(w) {
				w.ok(command...)
			}
			w.arrived()
		})
	}
}
