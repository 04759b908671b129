package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// fakeTar is a bundle of which as much is written as a test says, and its disk.
type fakeTar struct {
	offset, written int64
	err             error // of the disk
	synced          int
}

func (f *fakeTar) Offset() int64  { return f.offset }
func (f *fakeTar) Written() int64 { return f.written }
func (f *fakeTar) Sync() error    { f.synced++; return f.err }

// consumeFixture is some images with one layer each, their manifests in a store, as they are after a plan.
type consumeFixture struct {
	from    *ocitest.Memory
	jobs    []oci.Job
	blobs   []oci.Descriptor // in the order of a bundle
	store   *oci.Store
	journal *oci.Journal
	tar     fakeTar
	c       *consumer
}

func newConsumeFixture(t *testing.T, images, layer, slots int, sizes consumeSizes) *consumeFixture {
	t.Helper()
	f := &consumeFixture{from: &ocitest.Memory{}}
	var err error
	if f.store, err = oci.OpenScratch(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.store.Remove(); err != nil {
			t.Error(err)
		}
	})
	if f.journal, err = f.store.Journal("pack"); err != nil {
		t.Fatal(err)
	}
	var roots []*oci.Node
	for i := range images {
		repo := oci.Repository{Host: "host.example", Path: fmt.Sprintf("app-%03d", i)}
		g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(uint64(i), layer))
		f.from.Add(repo, "1", g)
		f.jobs = append(f.jobs, oci.Job{Name: repo.Path, Root: g.Node(), From: []oci.Repository{repo}, To: []oci.Target{{}}})
		roots = append(roots, g.Node())
		if err := f.journal.PutManifest(t.Context(), g.Descriptor, g.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	manifests, configs, layers := oci.Blobs(roots...)
	f.blobs = slices.Concat(manifests, configs, layers)
	f.c = newConsumer(f.store, f.journal, &f.tar, slots, sizes)
	return f
}

// begin begins the bundle.
func (f *consumeFixture) begin(t *testing.T) {
	t.Helper()
	if err := f.c.begin(f.blobs, 0); err != nil {
		t.Fatal(err)
	}
}

// take seals the blob d, of which all is written at once.
func (f *consumeFixture) take(t *testing.T, d oci.Descriptor) {
	t.Helper()
	f.tar.offset += d.Size
	f.tar.written = f.tar.offset
	if err := f.c.took(&f.tar, d); err != nil {
		t.Fatal(err)
	}
}

func (f *consumeFixture) has(t *testing.T, d oci.Descriptor) bool {
	t.Helper()
	has, err := f.store.Has(t.Context(), oci.Repository{}, d)
	if err != nil {
		t.Fatal(err)
	}
	return has
}

// folderSize returns the bytes of all files below dir.
func folderSize(t testing.TB, dir string) int64 {
	size := int64(0)
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return skipMissing(err)
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return skipMissing(err)
	})
	if err != nil {
		t.Error(err)
	}
	return size
}

func skipMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) { // dropped while it was looked at
		return nil
	}
	return err
}

// isFull reports whether all pushes that can be under way, of so many that are left, wait, and none has room. The caller
// holds c.mu.
func (c *consumer) isFull(left int) bool {
	for d := range c.waiting {
		if c.hasRoom(oci.Descriptor{Digest: d}) {
			return false
		}
	}
	return len(c.waiting) == min(c.slots, left)
}

// Blobs that volumes hold since an earlier run count as there from the first, and leave the store.
func TestConsumeHeld(t *testing.T) {
	const held = 9 // six manifests and three configs
	f := newConsumeFixture(t, 6, 1000, 2, consumeSizes{window: 1, step: 1, idle: 1})
	f.c.hold(f.blobs[:held])
	to := &consumedStore{f.store, f.c}
	for i, d := range f.blobs {
		has, err := to.Has(t.Context(), oci.Repository{}, d)
		if err != nil || has != (i < held) {
			t.Errorf("blob %d: has is %v, %v", i, has, err)
		}
	}
	if err := f.c.begin(f.blobs, held); err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	for _, d := range f.blobs[:held] {
		want += d.Size
		if got := f.journal.Dropped(d); got == oci.IsManifest(d.MediaType) {
			t.Errorf("%s: dropped is %v", d.MediaType, got)
		}
	}
	if f.c.sealed != want || f.c.dropped != want || !f.c.hasRoom(f.blobs[held]) {
		t.Errorf("sealed %d, dropped %d, want %d; room for the next: %v", f.c.sealed, f.c.dropped, want, f.c.hasRoom(f.blobs[held]))
	}
}

// However slow the output is, the store holds no more than the window, one blob and the manifests. Before each blob is
// sealed, all that may be fetched is.
func TestConsumeKeepsToTheWindow(t *testing.T) {
	const images, layer, slots, window = 30, 10_000, 4, 35_000
	for name, open := range map[string]bool{"window": false, "no window": true} {
		t.Run(name, func(t *testing.T) {
			f := newConsumeFixture(t, images, layer, slots, consumeSizes{window: window, step: 1, idle: 1})
			manifests := folderSize(t, f.store.Dir())
			f.begin(t)
			if open {
				f.c.end()
			}
			ended := 0 // pushes that have, guarded by f.c.mu
			events := func(e oci.Event) {
				if e.Kind == oci.EventDone || e.Kind == oci.EventFailed {
					f.c.mu.Lock()
					defer f.c.mu.Unlock()
					ended++
					f.c.wake.Broadcast()
				}
			}
			var report *oci.Report
			var copyErr error
			done := make(chan struct{})
			go func() {
				defer close(done)
				to := &consumedStore{f.store, f.c}
				report, copyErr = oci.Copy(t.Context(), f.from, to, f.jobs, oci.CopyOptions{Transfers: slots, Events: events})
			}()
			peak := int64(0)
			for _, d := range f.blobs {
				f.c.mu.Lock()
				for ended < 2*images && !f.c.isFull(2*images-ended) {
					f.c.wake.Wait()
				}
				f.c.mu.Unlock()
				peak = max(peak, folderSize(t, f.store.Dir()))
				if !f.has(t, d) {
					t.Fatalf("%s is not there when it is its turn", d.Digest)
				}
				f.take(t, d)
			}
			<-done
			if copyErr != nil || len(report.Failed()) > 0 || report.Moved != 2*images {
				t.Fatalf("%+v, %v", report, copyErr)
			}
			const slack = 20_000 // one layer, the journal's lines, and what belongs to a store
			if within := peak <= manifests+window+slack; within == open {
				t.Errorf("the store had up to %d bytes, of which %d are manifests", peak, manifests)
			}
			if left := folderSize(t, f.store.Dir()); left > manifests+slack {
				t.Errorf("%d bytes are left", left)
			}
		})
	}
}

// A blob stays until all of it has been written, and the disk has taken it.
func TestConsumeDropsWhatIsOnTheDisk(t *testing.T) {
	f := newConsumeFixture(t, 3, 10_000, 2, consumeSizes{window: 1 << 20, step: 15_000, idle: 1})
	f.begin(t)
	f.c.end()
	if _, err := oci.Copy(t.Context(), f.from, f.store, f.jobs, oci.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	seal := func(d oci.Descriptor) error {
		f.tar.offset += d.Size
		return f.c.took(&f.tar, d)
	}
	manifests, configs, layers := f.blobs[:3], f.blobs[3:6], f.blobs[6:]
	for _, d := range slices.Concat(manifests, configs, layers[:2]) {
		if err := seal(d); err != nil {
			t.Fatal(err)
		}
	}
	f.tar.written = f.tar.offset - 1
	if err := f.c.want(&f.tar, layers[2]); err != nil {
		t.Fatal(err)
	}
	if !f.has(t, layers[1]) || f.has(t, layers[0]) || f.has(t, configs[2]) || !f.has(t, manifests[0]) {
		t.Error("of the second layer a byte is missing in the output, of the others none; manifests stay")
	}
	if !f.journal.Dropped(layers[0]) || f.journal.Dropped(layers[1]) || f.tar.synced != 1 {
		t.Errorf("the journal does not know what was dropped; %d times synced", f.tar.synced)
	}
	f.tar.written, f.tar.err = f.tar.offset, errors.New("no space left on device")
	if err := f.c.want(&f.tar, layers[2]); !errors.Is(err, f.tar.err) {
		t.Errorf("a disk that does not take it: got %v", err)
	}
	if !f.has(t, layers[1]) {
		t.Error("dropped, although the output could not be synced")
	}
	// What was dropped counts as there for the copy, which is not to fetch it again.
	to := &consumedStore{f.store, f.c}
	if has, err := to.Has(t.Context(), oci.Repository{}, layers[0]); !has || err != nil {
		t.Errorf("a dropped blob: got %v, %v", has, err)
	}
}

// If all pushes wait for room, and the one that the sealer wants is not among them, the first of them may go.
func TestConsumeIsNeverStuck(t *testing.T) {
	f := newConsumeFixture(t, 10, 10_000, 2, consumeSizes{window: 10_000, step: 1, idle: 1})
	f.begin(t)
	layers := f.blobs[20:]
	for _, d := range f.blobs[:20] {
		f.take(t, d)
	}
	if err := f.c.want(&f.tar, layers[0]); err != nil {
		t.Fatal(err)
	}
	admitted := make(chan int)
	ctx, cancel := context.WithCancel(t.Context())
	for _, i := range []int{7, 5} {
		go func() {
			if err := f.c.admit(ctx, layers[i]); err != nil {
				i = -1
			}
			admitted <- i
		}()
	}
	if i := <-admitted; i != 5 {
		t.Errorf("layer %d went first, want 5", i)
	}
	f.c.mu.Lock()
	waits := f.c.waiting[layers[7].Digest] && !f.c.hasRoom(layers[7])
	f.c.mu.Unlock()
	if !waits {
		t.Error("layer 7 does not wait, although a slot is free")
	}
	cancel()
	if i := <-admitted; i != -1 {
		t.Error("a push whose run has ended was let go")
	}
}

// peakRegistry is a registry of many images that looks, with each blob that it is asked for, how much disk a pack takes.
type peakRegistry struct {
	*registrytest.Server
	mu   sync.Mutex
	look func() int64
	peak int64
}

func (r *peakRegistry) lookNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peak = max(r.peak, r.look())
}

func newPeakRegistry(t *testing.T, images, layer int) *peakRegistry {
	r := &peakRegistry{}
	r.Server = registrytest.New(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/blobs/") {
				r.lookNow()
			}
			next.ServeHTTP(w, q)
		})
	}})
	for i := range images {
		g := ocitest.Image(ocitest.AMD64, noise(i, layer))
		repo := fmt.Sprintf("p/app-%03d", i)
		for _, b := range g.All() {
			if oci.IsManifest(b.MediaType) {
				r.AddManifest(repo, b.MediaType, b.Bytes)
			} else {
				r.AddBlob(repo, b.Bytes)
			}
		}
		r.Tag(repo, "1", g.Digest)
	}
	return r
}

// noise returns a blob of size bytes that a bundle stores as it is.
func noise(seed, size int) ocitest.Blob {
	return ocitest.NewBlob(ocispec.MediaTypeImageLayerGzip, append([]byte("\x1f\x8b\x08"), ocitest.Random(uint64(seed), size-3)...))
}

// pack packs the whole registry into dir/out.tar and returns how much disk it took at the most, and what it said.
func (r *peakRegistry) pack(t *testing.T, dir string, consume, compact bool) (peak int64, text string, err error) {
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	output := filepath.Join(dir, "out.tar")
	r.look = func() int64 { return folderSize(t, dir) }
	r.peak = 0
	o := packOptions{
		From: r.Host(), Consume: consume, Compact: compact, outputFlags: outputFlags{Output: output, Level: "default", Created: "2026-01-02T03:04:05Z"},
		Transfers: transferFlags{N: 4},
	}
	o.Missing = "fail"
	o.Source.add(pflag.NewFlagSet("pack", pflag.ContinueOnError), sideSource)
	var said bytes.Buffer
	std := &stdio{Out: io.Discard, Err: &said, Now: time.Now, Getenv: func(string) string { return "" }}
	if compact {
		std.Now = func() time.Time { // which is asked while the bundle is written, too
			r.lookNow()
			return time.Now()
		}
	}
	p := &packing{
		o: &o, std: std, diskOf: func(string) (disk, error) { return disk{free: 1e12}, nil },
		consume: consumeSizes{window: 4 << 20, step: 1 << 20, idle: 256 << 10},
	}
	err = p.pack(t.Context())
	return r.peak, said.String(), err
}

// A pack that consumes its store needs the disk of its bundle and little more. One that fails says what has to be fetched
// again, and the next one comes to the same bundle.
func TestPackConsumeDisk(t *testing.T) {
	const images, layer = 60, 1 << 20
	t.Setenv("HOME", t.TempDir()) // no credentials of the machine
	r := newPeakRegistry(t, images, layer)
	plain, again := t.TempDir(), t.TempDir()
	kept, _, err := r.pack(t, plain, false, false)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(plain, "out.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if kept < int64(len(want))*8/10 { // with the last blob, the store alone has nearly all
		t.Fatalf("without --consume %d bytes were seen, which is not all that lies there", kept)
	}
	most := int64(len(want)) * 12 / 10
	last := noise(images-1, layer)
	r.Fault(registrytest.Match{Kind: registrytest.Blob, Ref: last.Digest.String()},
		registrytest.Code(404, "BLOB_UNKNOWN", "blob unknown"))
	failed, said, err := r.pack(t, again, true, false)
	if exitCode(err) != exitPartial || !strings.Contains(err.Error(), "had been dropped and will have to be fetched again; the rest is kept in") {
		t.Fatalf("got %v, said %s", err, said)
	}
	r.ClearFaults()
	went, said, err := r.pack(t, again, true, false)
	if err != nil || !strings.Contains(said, "an earlier run did not end well after it had dropped ") {
		t.Fatalf("got %v, said %s", err, said)
	}
	for name, peak := range map[string]int64{"that failed": failed, "that went well": went} {
		if peak > most {
			t.Errorf("the run %s needed %d bytes, the bundle has %d", name, peak, len(want))
		}
	}
	got, err := os.ReadFile(filepath.Join(again, "out.tar"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("not the same bundle: %d bytes, want %d; %v", len(got), len(want), err)
	}
	if left := folderSize(t, filepath.Join(again, "cache")); left > 0 {
		t.Errorf("%d bytes are left in the cache", left)
	}
}

// A compact pack that consumes its store holds all blobs until the last proof, and from then on little more than these.
func TestPackConsumeCompactDisk(t *testing.T) {
	const images, layer = 60, 1 << 20
	t.Setenv("HOME", t.TempDir()) // no credentials of the machine
	r := newPeakRegistry(t, images, layer)
	kept, _, err := r.pack(t, t.TempDir(), false, true)
	if err != nil {
		t.Fatal(err)
	}
	if kept < 2*images*layer*9/10 {
		t.Fatalf("without --consume %d bytes were seen, which is not all that lies there", kept)
	}
	peak, _, err := r.pack(t, t.TempDir(), true, true)
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(images * layer * 14 / 10); peak > most {
		t.Errorf("%d bytes were on the disk, want %d at most", peak, most)
	}
}
