package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Volumes are served where they lie, in two folders; without one of them, what is in the others is.
func TestServeVolumes(t *testing.T) {
	t.Parallel()
	w := newServedWorld(t)
	w.pack("k8s.tar.zst")
	names := w.cut("k8s.tar.zst", 1<<20, "usb1", "usb2")
	s := w.serve("usb2", "usb1")
	for _, prefix := range []string{"", servedHost + "/"} {
		if err := w.isServed(s, prefix); err != nil {
			t.Error(err)
		}
	}

	lost := names[len(names)/2]
	if err := os.Remove(w.path(lost)); err != nil {
		t.Fatal(err)
	}
	s = w.serve("usb2", "usb1")
	whole := 0
	for _, image := range w.images {
		if w.imageIsServed(s, "", image) == nil {
			whole++
		}
	}
	if whole == 0 || whole == len(w.images) {
		t.Errorf("without a volume, %d of %d images are whole", whole, len(w.images))
	}
	if page, err := get(s.url + "/"); err != nil || !strings.Contains(page, filepath.Base(lost)) {
		t.Errorf("the page does not say that %s is missing: %v", filepath.Base(lost), err)
	}
	if !strings.Contains(s.log.String(), filepath.Base(lost)) {
		t.Errorf("ferry does not say that %s is missing:\n%s", filepath.Base(lost), s.log)
	}
}

// cut cuts a bundle into volumes of size bytes, which lie in two folders in turn, each with the list of all, and removes the
// bundle. It returns the names of the volumes.
func (w *world) cut(bundle string, size int, folders ...string) (names []string) {
	w.Helper()
	content := w.read(bundle)
	var list strings.Builder
	for part := range slices.Chunk(content, size) {
		name := fmt.Sprintf("%s.%03d", bundle, len(names)+1)
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(part), name)
		names = append(names, folders[len(names)%len(folders)]+"/"+name)
		w.write(names[len(names)-1], string(part))
	}
	fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(content), bundle)
	for _, folder := range folders {
		w.write(folder+"/"+bundle+".sha256", list.String())
	}
	if err := os.Remove(w.path(bundle)); err != nil {
		w.Fatal(err)
	}
	return names
}

// get returns what a URL gives.
func get(url string) (_ string, err error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
