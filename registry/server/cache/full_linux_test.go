package cache

import (
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/ferry-oci/ferry/oci/ocitest"
)

// A disk that takes no more than the begin of a blob keeps nobody from the blob.
func TestFullDisk(t *testing.T) {
	blobs := randomBlobs(2_000_000, 2_000_001)
	src := newOrigin(t, blobs...)
	var mu sync.Mutex
	var told []error
	c := open(t, t.TempDir(), Options{Failed: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err)
	}})
	s := c.Source(src, nothing)

	signal.Ignore(syscall.SIGXFSZ) // the write fails all the same
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1_000_000, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) }()

	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			if err := read(t.Context(), s, blobs[0], 1000); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if len(told) != 1 {
		t.Errorf("told %v, want one error", told)
	}
	if err := read(t.Context(), s, blobs[1], 0); err != nil || src.times(blobs[1].Digest) != 1 {
		t.Errorf("the next blob was opened %d times, %v", src.times(blobs[1].Digest), err)
	}
	if c.find(blobs[0].Digest) >= 0 {
		t.Error("what was not kept still takes room")
	}
	checkNoParts(t, c, blobs...)
}

func checkNoParts(t *testing.T, c *Cache, blobs ...ocitest.Blob) {
	t.Helper()
	for _, b := range blobs {
		if n := c.store.Part(b.Descriptor); n > 0 {
			t.Errorf("%d bytes of %s were left", n, b.Digest)
		}
	}
}
