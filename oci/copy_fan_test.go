package oci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// at returns a repository of one of several targets.
func at(host, path string) oci.Repository { return oci.Repository{Host: host, Path: path} }

// toHosts makes all images of the jobs go to each of the hosts, with the tag v1.
func toHosts(jobs []oci.Job, hosts ...string) []oci.Job {
	for i := range jobs {
		jobs[i].To = nil
		for _, host := range hosts {
			jobs[i].To = append(jobs[i].To, oci.Target{Repository: at(host, jobs[i].Name), Tag: "v1"})
		}
	}
	return jobs
}

// large is an image with layers that do not fit into what is kept of a blob for several readers.
var large = sync.OnceValue(func() *ocitest.Graph {
	return ocitest.Index(ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(500, 3<<20), ocitest.RandomLayer(501, 5<<20)))
})

func largeJob(src *ocitest.Memory) oci.Job {
	src.Add(from("large"), "", large())
	return oci.Job{Name: "large", Root: large().Node(), From: []oci.Repository{from("large")}}
}

// opens counts how often each blob was opened.
func opens(src *ocitest.Memory) map[digest.Digest]int {
	n := map[digest.Digest]int{}
	for _, op := range src.Ops("open") {
		n[op.Digest]++
	}
	return n
}

func checkAt(t *testing.T, dst *ocitest.Memory, host string, job oci.Job, g *ocitest.Graph) {
	t.Helper()
	repo := at(host, job.Name)
	if err := dst.Holds(repo, g); err != nil {
		t.Error(err)
	}
	if got := dst.Tags(repo)["v1"]; got != g.Digest {
		t.Errorf("%s:v1 names %q, want %s", repo, got, g.Digest)
	}
}

// patient is the patience of tests in which nobody is left behind, however slow the machine.
const patient = time.Hour

func TestCopyToSeveralTargetsReadsEachBlobOnce(t *testing.T) {
	for _, transfers := range []int{1, 2, 8, 30} {
		for _, hosts := range [][]string{{"a.test", "b.test"}, {"a.test", "b.test", "c.test", "d.test"}} {
			t.Run(fmt.Sprintf("%d targets, %d transfers", len(hosts), transfers), func(t *testing.T) {
				var src, dst ocitest.Memory
				graphs, jobs := fleet(&src, 10)
				graphs, jobs = append(graphs, large()), toHosts(append(jobs, largeJob(&src)), hosts...)
				r := mustCopy(t, &src, &dst, jobs, oci.CopyOptions{Transfers: transfers, LargestFirst: true, Patience: patient})
				for i, g := range graphs {
					for _, host := range hosts {
						checkAt(t, &dst, host, jobs[i], g)
					}
				}
				opened := opens(&src)
				bytes := int64(0)
				for dgst := range isBlob(graphs) {
					if opened[dgst] != 1 {
						t.Errorf("%s was opened %d times", dgst, opened[dgst])
					}
				}
				_, configs, layers := oci.Blobs(roots(jobs)...)
				for _, d := range append(configs, layers...) {
					bytes += d.Size
				}
				if r.MovedBytes != bytes || r.Moved != len(hosts)*len(isBlob(graphs)) {
					t.Errorf("read %d bytes of %d, moved %d blobs", r.MovedBytes, bytes, r.Moved)
				}
			})
		}
	}
}

func roots(jobs []oci.Job) []*oci.Node {
	var all []*oci.Node
	for _, j := range jobs {
		all = append(all, j.Root)
	}
	return all
}

// pusher is a sink whose pushes of blobs to one host are done by a function.
type pusher struct {
	*ocitest.Memory
	host string
	push func(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error
}

func (p *pusher) Push(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
	if to.Host != p.host || oci.IsManifest(d.MediaType) {
		return p.Memory.Push(ctx, to, d, c)
	}
	return p.push(ctx, to, d, c)
}

// gather returns content that opens the blob at each of the offsets, reads a piece each time, and then all of it from
// where the last one began.
func gather(ctx context.Context, d oci.Descriptor, c oci.Content, pieces [][2]int64) ([]byte, error) {
	whole := make([]byte, d.Size)
	read := func(from, n int64) error {
		r, err := c(ctx, from)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.ReadFull(r, whole[from:min(from+n, d.Size)])
		return err
	}
	for _, p := range pieces {
		if p[0] <= d.Size {
			if err := read(p[0], p[1]); err != nil {
				return nil, err
			}
		}
	}
	return whole, nil
}

func contentOf(raw []byte) oci.Content {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
}

// A target whose upload breaks reads again from where it stands, by itself or with the others, and the others do not
// notice.
func TestCopyToSeveralTargetsWhenOneBreaks(t *testing.T) {
	const window = 1 << 20
	for name, again := range map[string]int64{
		"from the start": 0, "a little back": 1_900_000, "far back": 100_000, "where it was": 2_000_000,
	} {
		t.Run(name, func(t *testing.T) {
			var src, dst ocitest.Memory
			jobs := toHosts([]oci.Job{largeJob(&src)}, "a.test", "b.test")
			sink := &pusher{Memory: &dst, host: "b.test"}
			sink.push = func(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
				if d.Size < 2*window {
					return dst.Push(ctx, to, d, c)
				}
				whole, err := gather(ctx, d, c, [][2]int64{{0, 2_000_000}, {again, d.Size}, {0, again}})
				if err != nil {
					return err
				}
				return dst.Push(ctx, to, d, contentOf(whole))
			}
			mustCopy(t, &src, sink, jobs, oci.CopyOptions{Patience: patient})
			for _, host := range []string{"a.test", "b.test"} {
				checkAt(t, &dst, host, jobs[0], large())
			}
		})
	}
}

// A target that begins where the others have come to reads on with them.
func TestCopyToSeveralTargetsFromWhereTheOthersAre(t *testing.T) {
	const window = 1 << 20
	layer := large().Children[0].Blobs[1]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var src, dst ocitest.Memory
	reached := make(chan struct{}) // the other target has read all that there is without this one
	sink := &pusher{Memory: &dst, host: "b.test"}
	sink.push = func(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
		if d.Digest != layer.Digest {
			return dst.Push(ctx, to, d, c)
		}
		select {
		case <-reached:
		case <-ctx.Done():
			return ctx.Err()
		}
		whole, err := gather(ctx, d, c, [][2]int64{{window, d.Size}, {0, window}})
		if err != nil {
			return err
		}
		return dst.Push(ctx, to, d, contentOf(whole))
	}
	read := int64(0)
	events := func(e oci.Event) {
		if e.Kind == oci.EventAdvance && e.Descriptor.Digest == layer.Digest && e.Repository.Host == "a.test" {
			if read += e.Bytes; read == window {
				close(reached)
			}
		}
	}
	jobs := toHosts([]oci.Job{largeJob(&src)}, "a.test", "b.test")
	r, err := oci.Copy(ctx, &src, sink, jobs, oci.CopyOptions{Patience: patient, Events: events})
	if err != nil || len(r.Failed()) > 0 {
		t.Fatalf("error %v, %+v", err, r.Failed())
	}
	checkAt(t, &dst, "a.test", jobs[0], large())
	checkAt(t, &dst, "b.test", jobs[0], large())
	if n := opens(&src)[layer.Digest]; n != 2 { // the second time for what stands before that place
		t.Errorf("opened %d times", n)
	}
}

// A target that fails is nobody else's trouble.
func TestCopyToSeveralTargetsWhenOneFails(t *testing.T) {
	errBoom := errors.New("boom")
	for name, fails := range map[string]func(op ocitest.Op) bool{
		"every question": func(op ocitest.Op) bool { return op.Name == "has" },
		"every push":     func(op ocitest.Op) bool { return op.Name == "push" },
		"one push": func(op ocitest.Op) bool {
			return op.Name == "push" && op.Digest == large().Children[0].Blobs[1].Digest
		},
		"every tag": func(op ocitest.Op) bool { return op.Name == "tag" },
	} {
		t.Run(name, func(t *testing.T) {
			var src ocitest.Memory
			dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
				return failIf(op.Repository.Host == "b.test" && fails(op), errBoom)
			})}
			graphs, jobs := fleet(&src, 3)
			graphs, jobs = append(graphs, large()), toHosts(append(jobs, largeJob(&src)), "a.test", "b.test")
			r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{Patience: patient})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range r.Outcomes {
				failed := o.Target.Host == "b.test" && (name != "one push" || o.Job == "large")
				if failed != errors.Is(o.Err, errBoom) || !failed && o.Err != nil {
					t.Errorf("%s: error %v", o.Target, o.Err)
				}
			}
			for i, g := range graphs {
				checkAt(t, &dst, "a.test", jobs[i], g)
			}
			for dgst, n := range opens(&src) {
				if n != 1 {
					t.Errorf("%s was opened %d times", dgst, n)
				}
			}
		})
	}
}

// A target that is lost fails at once with all that was to go there.
func TestCopyToSeveralTargetsWhenOneIsLost(t *testing.T) {
	errGone := errors.New("gone")
	for _, name := range []string{"has", "push", "tag"} {
		t.Run(name, func(t *testing.T) {
			var src ocitest.Memory
			asked := 0
			dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
				if op.Repository.Host != "b.test" || op.Name != name {
					return nil
				}
				asked++ // there is one worker
				return errGone
			})}
			graphs, jobs := fleet(&src, 10)
			jobs = toHosts(jobs, "a.test", "b.test")
			r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{
				Transfers: 1, Patience: patient, Lost: func(err error) bool { return errors.Is(err, errGone) },
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range r.Outcomes {
				if lost := o.Target.Host == "b.test"; lost != errors.Is(o.Err, errGone) || !lost && o.Err != nil {
					t.Errorf("%s: error %v", o.Target, o.Err)
				}
			}
			for i, g := range graphs {
				checkAt(t, &dst, "a.test", jobs[i], g)
			}
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// A target that stands still holds up the others for as long as their patience lasts, and no longer. It gets all of its
// images when it goes on.
func TestCopyToSeveralTargetsWhenOneStandsStill(t *testing.T) {
	for _, op := range []string{"has", "push", "reads"} {
		t.Run(op, func(t *testing.T) {
			var src, dst ocitest.Memory
			graphs, jobs := fleet(&src, 12)
			graphs, jobs = append(graphs, large()), toHosts(append(jobs, largeJob(&src)), "a.test", "b.test")
			done := make(chan struct{}) // closed when all images are complete at the other target
			left, behind := len(jobs), 0
			wait := func(ctx context.Context) error {
				select {
				case <-done:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			dst.Fault = func(ctx context.Context, o ocitest.Op) error {
				if o.Repository.Host == "b.test" && o.Name == op {
					return wait(ctx)
				}
				return nil
			}
			sink := &pusher{Memory: &dst, host: "b.test"}
			sink.push = func(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
				return dst.Push(ctx, to, d, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
					r, err := c(ctx, offset)
					if err != nil || op != "reads" {
						return r, err
					}
					return &slowStart{ReadCloser: r, wait: func() error { return wait(ctx) }}, nil
				})
			}
			events := func(e oci.Event) {
				if e.Kind == oci.EventTag && e.Repository.Host == "a.test" {
					if left--; left == 0 {
						close(done)
					}
				}
				if e.Kind == oci.EventLeftBehind {
					behind++
				}
			}
			mustCopy(t, &src, sink, jobs, oci.CopyOptions{Transfers: 2, Patience: time.Millisecond, Events: events})
			for i, g := range graphs {
				checkAt(t, &dst, "a.test", jobs[i], g)
				checkAt(t, &dst, "b.test", jobs[i], g)
			}
			if behind == 0 {
				t.Error("nobody was left behind")
			}
		})
	}
}

// slowStart is a reader that waits after its first byte.
type slowStart struct {
	io.ReadCloser
	wait func() error
	read int
}

func (s *slowStart) Read(p []byte) (int, error) {
	if s.read++; s.read == 1 {
		return s.ReadCloser.Read(p[:1])
	}
	if s.read == 2 {
		if err := s.wait(); err != nil {
			return 0, err
		}
	}
	return s.ReadCloser.Read(p)
}

// Targets that read anywhere, in any order and at any speed get the right bytes.
func TestCopyToSeveralTargetsAtAnyPlace(t *testing.T) {
	hosts := []string{"a.test", "b.test", "c.test"}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			var src, dst ocitest.Memory
			graphs, jobs := fleet(&src, 3)
			graphs, jobs = append(graphs, large()), toHosts(append(jobs, largeJob(&src)), hosts...)
			sink := &everywhere{Memory: &dst, seed: seed}
			patience := []time.Duration{patient, time.Microsecond}[seed%2]
			mustCopy(t, &src, sink, jobs, oci.CopyOptions{Transfers: 3, Patience: patience})
			for i, g := range graphs {
				for _, host := range hosts {
					checkAt(t, &dst, host, jobs[i], g)
				}
			}
		})
	}
}

// everywhere is a sink that reads parts of a blob from many places before it reads all of it.
type everywhere struct {
	*ocitest.Memory
	seed uint64
}

func (e *everywhere) Push(ctx context.Context, to oci.Repository, d oci.Descriptor, c oci.Content) error {
	random := rand.New(rand.NewPCG(e.seed, uint64(len(to.String()))+uint64(to.Host[0])))
	var pieces [][2]int64
	for range random.IntN(4) {
		pieces = append(pieces, [2]int64{random.Int64N(d.Size + 1), random.Int64N(d.Size + 1)})
	}
	whole, err := gather(ctx, d, c, append(pieces, [2]int64{0, d.Size}))
	if err != nil {
		return err
	}
	return e.Memory.Push(ctx, to, d, contentOf(whole))
}

// What the source cannot give fails at all targets, or comes from its next repository.
func TestCopyToSeveralTargetsWhenTheSourceFails(t *testing.T) {
	errCut := errors.New("cut")
	layer := large().Children[0].Blobs[1]
	for _, other := range []bool{false, true} {
		t.Run(fmt.Sprintf("another repository %v", other), func(t *testing.T) {
			var src, dst ocitest.Memory
			src.Body = func(op ocitest.Op, r io.ReadCloser) io.ReadCloser {
				if op.Digest != layer.Digest || op.Repository != from("large") {
					return r
				}
				return io.NopCloser(io.MultiReader(io.LimitReader(r, 2<<20), iotest.ErrReader(errCut)))
			}
			jobs := toHosts([]oci.Job{largeJob(&src)}, "a.test", "b.test")
			if other {
				elsewhere := at("mirror.test", "large")
				src.Add(elsewhere, "", large())
				jobs[0].From = append(jobs[0].From, elsewhere)
			}
			r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{Patience: patient})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range r.Outcomes {
				if other {
					checkAt(t, &dst, o.Target.Host, jobs[0], large())
					continue
				}
				want := oci.CopyError{Op: "fetch", Source: true, Repository: from("large"), Digest: layer.Digest}
				if !errors.Is(o.Err, errCut) {
					t.Fatalf("%s: error %v", o.Target, o.Err)
				}
				got := errorOf(t, o.Err)
				if got.Err = nil; got != want {
					t.Errorf("%s: error %+v", o.Target, got)
				}
			}
			if n := opens(&src)[layer.Digest]; !other && n != 1 {
				t.Errorf("opened %d times", n)
			}
		})
	}
}

// A copy that is called off leaves nothing behind that still reads.
func TestCopyToSeveralTargetsCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var src, dst ocitest.Memory
	var mu sync.Mutex
	reading := 0
	src.Body = func(_ ocitest.Op, r io.ReadCloser) io.ReadCloser {
		mu.Lock()
		defer mu.Unlock()
		reading++
		return &watchedCloser{r, func() { mu.Lock(); defer mu.Unlock(); reading-- }}
	}
	sink := &pusher{Memory: &dst, host: "b.test"}
	sink.push = func(ctx context.Context, _ oci.Repository, _ oci.Descriptor, c oci.Content) error {
		r, err := c(ctx, 0)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.ReadFull(r, make([]byte, 10))
		cancel()
		<-ctx.Done()
		return errors.Join(err, ctx.Err())
	}
	jobs := toHosts([]oci.Job{largeJob(&src)}, "a.test", "b.test")
	if _, err := oci.Copy(ctx, &src, sink, jobs, oci.CopyOptions{Patience: patient}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if reading != 0 {
		t.Errorf("%d readers are still open", reading)
	}
}

type watchedCloser struct {
	io.ReadCloser
	closed func()
}

func (w *watchedCloser) Close() error {
	w.closed()
	return w.ReadCloser.Close()
}
