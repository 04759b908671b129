package e2e

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// A bundle that is cut into volumes on two disks makes the trip from there, and loses no more with a volume than what is in it.
func TestVolumesTrip(t *testing.T) {
	for _, bundle := range []string{"k8s.tar.zst", "k8s.tar.xz", "k8s.tar"} {
		t.Run(bundle, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution.Options{}, distribution.Options{})
			for _, dir := range []string{"usb1", "usb2"} {
				if err := os.Mkdir(w.path(dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			w.ok("pack", "-f", "images.list", "-o", "whole-"+bundle)
			w.ok("pack", "-f", "images.list", "--split", "1MiB", "-o", "usb1/"+bundle)
			names := w.spread(bundle)
			var joined []byte
			for _, name := range names {
				joined = append(joined, w.read(name)...)
			}
			if !bytes.Equal(joined, w.read("whole-"+bundle)) {
				t.Error("the volumes are not the bytes of a pack that is not split")
			}
			w.inspected("usb1") // the head alone is read, and that is in the first volume
			if got := w.ok("verify", "usb2", "usb1"); !strings.Contains(got.stdout, ".sha256 file: checked") {
				t.Errorf("verify: %s", got.stdout)
			}
			w.ok("unpack", "usb2", "usb1", w.to())
			w.arrived()

			lost := names[len(names)/2]
			if err := os.Remove(w.path(lost)); err != nil {
				t.Fatal(err)
			}
			_, base, _ := strings.Cut(lost, "/")
			w.expect(4, w.ferry("verify", "usb2", "usb1"), "volume "+base, "is missing")
			got := w.expect(4, w.ferry("unpack", "usb2", "usb1", "oci:layout"), "volume "+base)
			whole := strings.Count(got.stderr, "\nferry:   ")
			got = w.expect(4, w.ferry("unpack", "--keep-going", "usb2", "usb1", "oci:layout"))
			if n := len(strings.Fields(got.stdout)); whole == 0 || n != len(w.images)-whole {
				t.Errorf("%d of %d images were whole, and %d failed:\n%s", whole, len(w.images), n, got.stderr)
			}
		})
	}
}

// spread moves every other volume of usb1 to usb2, and returns the names of all in order.
func (w *world) spread(bundle string) []string {
	w.Helper()
	var names []string
	for n := 1; ; n++ {
		name := fmt.Sprintf("usb1/%s.%03d", bundle, n)
		if _, err := os.Stat(w.path(name)); err != nil {
			break
		}
		if n%2 == 0 {
			to := fmt.Sprintf("usb2/%s.%03d", bundle, n)
			if err := os.Rename(w.path(name), w.path(to)); err != nil {
				w.Fatal(err)
			}
			name = to
		}
		names = append(names, name)
	}
	if len(names) < 4 {
		w.Fatalf("volumes: %q", names)
	}
	w.write("usb2/"+bundle+".sha256", string(w.read("usb1/"+bundle+".sha256")))
	return slices.Clip(names)
}
