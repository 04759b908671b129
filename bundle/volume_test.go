package bundle

import "testing"

func TestVolumeNames(t *testing.T) {
	for _, tc := range []struct {
		volumes, n int
		want       string
	}{
		{1, 1, "dir/k8s.tar.zst.001"},
		{999, 999, "dir/k8s.tar.zst.999"},
		{1000, 1, "dir/k8s.tar.zst.0001"},
		{MaxVolumes, MaxVolumes, "dir/k8s.tar.zst.99999"},
	} {
		digits := VolumeDigits(tc.volumes)
		got := VolumeName("dir/k8s.tar.zst", tc.n, digits)
		if got != tc.want {
			t.Errorf("volume %d of %d: got %s, want %s", tc.n, tc.volumes, got, tc.want)
		}
		path, n, width, ok := parseVolumeName(got)
		if !ok || path != "dir/k8s.tar.zst" || n != tc.n || width != digits {
			t.Errorf("%s: got %q, %d, %d, %v", got, path, n, width, ok)
		}
	}
}

func TestNoVolumeNames(t *testing.T) {
	for name, file := range map[string]string{
		"the bundle":          "k8s.tar.zst",
		"its list":            "k8s.tar.zst.sha256",
		"not whole":           "k8s.tar.zst.001.partial",
		"number 0":            "k8s.tar.zst.000",
		"two digits":          "k8s.tar.zst.01",
		"six digits":          "k8s.tar.zst.000001",
		"a sign":              "k8s.tar.zst.+01",
		"other digits":        "k8s.tar.zst.٠٠١",
		"no name":             ".001",
		"no name in a folder": "dir/.001",
		"no dot":              "001",
		"empty":               "",
	} {
		if path, n, _, ok := parseVolumeName(file); ok {
			t.Errorf("%s: %q is volume %d of %q", name, file, n, path)
		}
	}
}
