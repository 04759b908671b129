package oci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

func from(path string) oci.Repository { return oci.Repository{Host: "source.test", Path: path} }

func to(path string) oci.Repository { return oci.Repository{Host: "target.test", Path: path} }

func tagged(path, tag string) oci.Target { return oci.Target{Repository: to(path), Tag: tag} }

// fleetGraphs are the images of every fleet.
var fleetGraphs = sync.OnceValue(func() []*ocitest.Graph {
	graphs := make([]*ocitest.Graph, 20)
	for i := range graphs {
		graphs[i] = ocitest.MultiArch(1, fmt.Sprintf("app%d", i))
	}
	return graphs
})

// fleet returns n images app0, app1, ... on one base, held by src, and the jobs that copy them under the same names.
func fleet(src *ocitest.Memory, n int) (graphs []*ocitest.Graph, jobs []oci.Job) {
	for i := range n {
		name, g := fmt.Sprintf("app%d", i), fleetGraphs()[i]
		src.Add(from(name), "", g)
		graphs = append(graphs, g)
		jobs = append(jobs, oci.Job{
			Name: name, Root: g.Node(), From: []oci.Repository{from(name)}, To: []oci.Target{tagged(name, "v1")},
		})
	}
	return graphs, jobs
}

// mustCopy copies and expects that every image arrives.
func mustCopy(t *testing.T, src oci.Source, dst oci.Sink, jobs []oci.Job, o oci.CopyOptions) *oci.Report {
	t.Helper()
	r, err := oci.Copy(t.Context(), src, dst, jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Failed() {
		t.Fatalf("image %s: %v", f.Job, f.Err)
	}
	return r
}

func checkArrived(t *testing.T, dst *ocitest.Memory, path, tag string, g *ocitest.Graph) {
	t.Helper()
	if err := dst.Holds(to(path), g); err != nil {
		t.Error(err)
	}
	if got := dst.Tags(to(path))[tag]; tag != "" && got != g.Digest {
		t.Errorf("%s:%s names %q, want %s", path, tag, got, g.Digest)
	}
}

func isBlob(g []*ocitest.Graph) map[digest.Digest]bool {
	blobs := map[digest.Digest]bool{}
	for _, g := range g {
		for _, d := range g.Node().Blobs() {
			blobs[d.Digest] = true
		}
	}
	return blobs
}

func TestCopyMovesEachBlobOnce(t *testing.T) {
	for _, o := range []oci.CopyOptions{
		{Transfers: 1}, {}, {Transfers: 30}, {LargestFirst: true}, {HoldTags: true}, {Transfers: 1, HoldTags: true},
	} {
		t.Run(fmt.Sprintf("%d transfers, largest %v, hold %v", o.Transfers, o.LargestFirst, o.HoldTags), func(t *testing.T) {
			var src, dst ocitest.Memory
			graphs, jobs := fleet(&src, 10)
			r := mustCopy(t, &src, &dst, jobs, o)
			for i, g := range graphs {
				checkArrived(t, &dst, jobs[i].Name, "v1", g)
			}
			blobs := isBlob(graphs)
			opens, pushes := map[digest.Digest]int{}, map[digest.Digest]int{}
			heads := map[ocitest.Op]int{}
			for _, op := range src.Ops("open") {
				opens[op.Digest]++
			}
			for _, op := range dst.Ops("push", "has") {
				if op.Name == "has" {
					heads[op]++
				} else if blobs[op.Digest] {
					pushes[op.Digest]++
				}
			}
			for dgst := range blobs {
				if opens[dgst] != 1 || pushes[dgst] != 1 {
					t.Errorf("%s: opened %d times, pushed %d times", dgst, opens[dgst], pushes[dgst])
				}
			}
			for op, n := range heads {
				if n != 1 {
					t.Errorf("asked %d times: %s", n, op)
				}
			}
			// Each image has two configs and four layers, of which the two base layers are those of all others.
			if len(blobs) != 42 || r.Moved != 42 || r.Mounted != 18 || r.Skipped != 0 {
				t.Errorf("moved %d, mounted %d, skipped %d of %d blobs", r.Moved, r.Mounted, r.Skipped, len(blobs))
			}
			if r.Tags != 10 {
				t.Errorf("%d tags", r.Tags)
			}
		})
	}
}

func TestCopyAgainMovesNothing(t *testing.T) {
	var src, dst ocitest.Memory
	_, jobs := fleet(&src, 3)
	mustCopy(t, &src, &dst, jobs, oci.CopyOptions{})
	before, opened := len(dst.Ops("push", "mount")), len(src.Ops("open"))
	r := mustCopy(t, &src, &dst, jobs, oci.CopyOptions{})
	if n := len(dst.Ops("push", "mount")) - before; n != 0 {
		t.Errorf("%d pushes and mounts", n)
	}
	if n := len(src.Ops("open")) - opened; n != 0 || r.MovedBytes != 0 || r.Moved != 0 || r.Manifests != 0 {
		t.Errorf("opened %d blobs, report %+v", n, r)
	}
}

// What comes from the sink's own host is mounted from there, each blob once, and read only where that is refused.
func TestCopyMountsFromTheSource(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused %v", refused), func(t *testing.T) {
			registry := ocitest.Memory{}
			registry.Fault = fault(func(op ocitest.Op) error {
				return failIf(refused && op.Name == "mount" && strings.HasPrefix(op.From.Path, "app"), oci.ErrDenied)
			})
			graphs, jobs := fleet(&registry, 5)
			for i := range jobs {
				jobs[i].To = []oci.Target{{Repository: from("copy/" + jobs[i].Name), Tag: "v1"}}
			}
			r := mustCopy(t, &registry, &registry, jobs, oci.CopyOptions{})
			for i, g := range graphs {
				if err := registry.Holds(jobs[i].To[0].Repository, g); err != nil {
					t.Error(err)
				}
			}
			home := map[digest.Digest]int{}
			for _, op := range registry.Ops("mount") {
				if strings.HasPrefix(op.From.Path, "app") {
					home[op.Digest]++
				}
			}
			pushed := map[digest.Digest]int{}
			for _, op := range registry.Ops("push") {
				pushed[op.Digest]++
			}
			for dgst := range isBlob(graphs) {
				if want := map[bool]int{false: 0, true: 1}[refused]; home[dgst] != 1-want || pushed[dgst] != want {
					t.Errorf("%s: mounted %d times from the source, pushed %d times", dgst, home[dgst], pushed[dgst])
				}
			}
			if refused != (r.MovedBytes > 0) {
				t.Errorf("%d bytes were read", r.MovedBytes)
			}
		})
	}
}

func TestCopyConfirmsBlobsOfManifestsThatAreThere(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 1)
	dst.Add(to("app0"), "v1", graphs[0])
	lost := graphs[0].Children[1].Blobs[2]
	dst.Delete(to("app0"), lost.Digest)
	r := mustCopy(t, &src, &dst, jobs, oci.CopyOptions{})
	checkArrived(t, &dst, "app0", "v1", graphs[0])
	if r.Moved != 1 || r.MovedBytes != lost.Size || r.Skipped != 5 {
		t.Errorf("report %+v", r)
	}
}

func TestCopyTagsLast(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 5)
	mustCopy(t, &src, &dst, jobs, oci.CopyOptions{})
	done := map[oci.Repository]bool{}
	for _, op := range dst.Ops("push", "mount", "tag") {
		if done[op.Repository] {
			t.Errorf("after the tag of its image: %s", op)
		}
		done[op.Repository] = op.Name == "tag"
		if op.Name == "push" && op.Digest == graphs[0].Digest {
			t.Errorf("the root of a tagged image was pushed by digest, too")
		}
	}
	if len(done) != 5 {
		t.Errorf("%d repositories", len(done))
	}
}

func TestCopyHoldTags(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 5)
	mustCopy(t, &src, &dst, jobs, oci.CopyOptions{HoldTags: true})
	tags := 0
	for _, op := range dst.Ops("push", "mount", "tag") {
		if op.Name == "tag" {
			tags++
		} else if tags > 0 {
			t.Fatalf("after a tag: %s", op)
		}
	}
	if tags != 5 {
		t.Errorf("%d tags", tags)
	}

	src.Delete(from("app3"), graphs[3].Children[0].Blobs[2].Digest)
	dst = ocitest.Memory{}
	r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{HoldTags: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(dst.Ops("tag")); n != 0 {
		t.Errorf("%d tags were set though an image failed", n)
	}
	for i, o := range r.Outcomes {
		if want := map[bool]error{true: oci.ErrNotFound, false: oci.ErrHeld}[i == 3]; !errors.Is(o.Err, want) {
			t.Errorf("%s: error %v, want %v", o.Job, o.Err, want)
		}
		if i != 3 {
			checkArrived(t, &dst, o.Job, "", graphs[i])
		}
	}
}

func TestCopyFailuresStayWithTheirImages(t *testing.T) {
	errBoom := errors.New("boom")
	graphs, _ := fleet(&ocitest.Memory{}, 4)
	own := func(i int) ocitest.Blob { return graphs[i].Children[1].Blobs[2] } // a layer that only app<i> has
	for name, c := range map[string]struct {
		src, dst func(op ocitest.Op) error
		body     func(op ocitest.Op, r io.ReadCloser) io.ReadCloser
		want     oci.CopyError
		err      error
	}{
		"blob not in the source": {
			src:  func(op ocitest.Op) error { return failIf(op.Digest == own(2).Digest, oci.ErrNotFound) },
			want: oci.CopyError{Op: "fetch", Source: true, Repository: from("app2"), Digest: own(2).Digest},
			err:  oci.ErrNotFound,
		},
		"content breaks off": {
			body: func(op ocitest.Op, r io.ReadCloser) io.ReadCloser {
				if op.Digest != own(2).Digest {
					return r
				}
				return io.NopCloser(io.MultiReader(io.LimitReader(r, 10), iotest.ErrReader(errBoom)))
			},
			want: oci.CopyError{Op: "fetch", Source: true, Repository: from("app2"), Digest: own(2).Digest},
			err:  errBoom,
		},
		"wrong content": {
			body: func(op ocitest.Op, r io.ReadCloser) io.ReadCloser {
				if op.Digest != own(2).Digest {
					return r
				}
				return io.NopCloser(bytes.NewReader(make([]byte, own(2).Size)))
			},
			want: oci.CopyError{Op: "fetch", Source: true, Repository: from("app2"), Digest: own(2).Digest},
			err:  oci.ErrCorrupt,
		},
		"sink does not answer for a repository": {
			dst: func(op ocitest.Op) error {
				return failIf(op.Name == "has" && op.Repository == to("app2") && op.Digest == own(2).Digest, errBoom)
			},
			want: oci.CopyError{Op: "check", Repository: to("app2"), Digest: own(2).Digest},
			err:  errBoom,
		},
		"sink refuses a blob": {
			dst: func(op ocitest.Op) error {
				return failIf(op.Name == "push" && op.Digest == own(2).Digest, oci.ErrDenied)
			},
			want: oci.CopyError{Op: "push", Repository: to("app2"), Digest: own(2).Digest},
			err:  oci.ErrDenied,
		},
		"sink refuses a manifest": {
			dst: func(op ocitest.Op) error {
				return failIf(op.Name == "push" && op.Digest == graphs[2].Children[0].Digest, errBoom)
			},
			want: oci.CopyError{Op: "push", Repository: to("app2"), Digest: graphs[2].Children[0].Digest},
			err:  errBoom,
		},
		"sink refuses a tag": {
			dst:  func(op ocitest.Op) error { return failIf(op.Name == "tag" && op.Repository == to("app2"), errBoom) },
			want: oci.CopyError{Op: "tag", Repository: to("app2"), Tag: "v1", Digest: graphs[2].Digest},
			err:  errBoom,
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := ocitest.Memory{Fault: fault(c.src), Body: c.body}
			dst := ocitest.Memory{Fault: fault(c.dst)}
			_, jobs := fleet(&src, 4)
			r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range r.Outcomes {
				if i != 2 {
					if o.Err != nil {
						t.Errorf("%s: %v", o.Job, o.Err)
					}
					checkArrived(t, &dst, o.Job, "v1", graphs[i])
					continue
				}
				got := errorOf(t, o.Err)
				if !errors.Is(o.Err, c.err) || !strings.Contains(o.Err.Error(), c.want.Digest.String()) {
					t.Errorf("error %v, want %v that names %s", o.Err, c.err, c.want.Digest)
				}
				if got.Err = nil; got != c.want {
					t.Errorf("error %+v, want %+v", got, c.want)
				}
				if tags := dst.Tags(to("app2")); len(tags) > 0 {
					t.Errorf("tags of the failed image: %v", tags)
				}
			}
		})
	}
}

func errorOf(t *testing.T, err error) oci.CopyError {
	t.Helper()
	var e *oci.CopyError
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no CopyError", err)
	}
	return *e
}

func failIf(hit bool, err error) error {
	if hit {
		return err
	}
	return nil
}

func fault(fn func(ocitest.Op) error) func(context.Context, ocitest.Op) error {
	if fn == nil {
		return nil
	}
	return func(_ context.Context, op ocitest.Op) error { return fn(op) }
}

func TestCopyOneFailureManyImages(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 3)
	base := graphs[0].Children[0].Blobs[1]
	for i := range graphs {
		src.Delete(from(fmt.Sprintf("app%d", i)), base.Digest)
	}
	alone := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(9, 100))
	src.Add(from("alone"), "", alone)
	jobs = append(jobs, oci.Job{
		Name: "alone", Root: alone.Node(), From: []oci.Repository{from("alone")}, To: []oci.Target{tagged("alone", "v1")},
	})
	r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range r.Outcomes {
		if i == 3 {
			checkArrived(t, &dst, "alone", "v1", alone)
		} else if !errors.Is(o.Err, oci.ErrNotFound) || !strings.Contains(o.Err.Error(), base.Digest.String()) {
			t.Errorf("%s: error %v", o.Job, o.Err)
		}
	}
	if n := len(r.Failed()); n != 3 {
		t.Errorf("%d images failed", n)
	}
	tries := 0
	for _, op := range src.Ops("open") {
		if op.Digest == base.Digest {
			tries++
		}
	}
	if tries != 3 {
		t.Errorf("%d tries, want one for each repository of the source", tries)
	}
}

func TestCopyTriesTheNextRepository(t *testing.T) {
	for name, bad := range map[string]func(src *ocitest.Memory, b ocitest.Blob){
		"not found": func(src *ocitest.Memory, b ocitest.Blob) { src.Delete(from("first"), b.Digest) },
		"denied": func(src *ocitest.Memory, b ocitest.Blob) {
			src.Fault = fault(func(op ocitest.Op) error {
				return failIf(op.Repository == from("first") && op.Digest == b.Digest, oci.ErrDenied)
			})
		},
		"wrong content": func(src *ocitest.Memory, b ocitest.Blob) {
			src.AddBlob(from("first"), ocitest.Blob{Descriptor: b.Descriptor, Bytes: make([]byte, b.Size)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var src, dst ocitest.Memory
			g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 5000))
			src.Add(from("first"), "", g)
			src.Add(from("second"), "", g)
			bad(&src, g.Blobs[1])
			mustCopy(t, &src, &dst, []oci.Job{
				{Name: "a", Root: g.Node(), From: []oci.Repository{from("first")}, To: []oci.Target{tagged("a", "v1")}},
				{Name: "b", Root: g.Node(), From: []oci.Repository{from("second")}, To: []oci.Target{tagged("b", "v1")}},
			}, oci.CopyOptions{})
			checkArrived(t, &dst, "a", "v1", g)
			checkArrived(t, &dst, "b", "v1", g)
		})
	}
}

func TestCopyGoesOnWhenTheFirstRepositoryOfTheSinkFails(t *testing.T) {
	var src ocitest.Memory
	graphs, jobs := fleet(&src, 3)
	dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
		return failIf(op.Name == "push" && op.Repository == to("app0"), oci.ErrDenied)
	})}
	r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{})
	if err != nil || len(r.Failed()) != 1 || r.Failed()[0].Job != "app0" {
		t.Fatalf("error %v, failed %v", err, r.Failed())
	}
	checkArrived(t, &dst, "app1", "v1", graphs[1])
	checkArrived(t, &dst, "app2", "v1", graphs[2])
}

func TestCopyPushesWhatCannotBeMounted(t *testing.T) {
	for name, dst := range map[string]*ocitest.Memory{
		"declined": {NoMount: true},
		"fails": {Fault: fault(func(op ocitest.Op) error {
			return failIf(op.Name == "mount", oci.ErrDenied)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			var src ocitest.Memory
			graphs, jobs := fleet(&src, 3)
			r := mustCopy(t, &src, dst, jobs, oci.CopyOptions{})
			for i, g := range graphs {
				checkArrived(t, dst, jobs[i].Name, "v1", g)
			}
			if r.Mounted != 0 || r.Moved != 18 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// plainSink is a sink without optional abilities.
type plainSink struct{ oci.Sink }

func TestCopyToPlainSink(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 2)
	jobs[0].To[0].Tag = ""
	r, err := oci.Copy(t.Context(), &src, plainSink{&dst}, jobs, oci.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkArrived(t, &dst, "app0", "", graphs[0])
	if r.Outcomes[0].Err != nil || r.Outcomes[1].Err == nil {
		t.Errorf("outcomes %v; want an error for the tag and only that", r.Outcomes)
	}
}

func TestCopyToTwoHosts(t *testing.T) {
	var src, dst ocitest.Memory
	g := ocitest.MultiArch(1, "app")
	src.Add(from("app"), "", g)
	other := oci.Repository{Host: "other.test", Path: "app"}
	r := mustCopy(t, &src, &dst, []oci.Job{{
		Name: "app", Root: g.Node(), From: []oci.Repository{from("app")},
		To: []oci.Target{tagged("app", "v1"), tagged("app", "v2"), {Repository: other, Tag: "v1"}},
	}}, oci.CopyOptions{})
	checkArrived(t, &dst, "app", "v1", g)
	checkArrived(t, &dst, "app", "v2", g)
	if err := dst.Holds(other, g); err != nil || r.Moved != 12 || len(r.Outcomes) != 3 || r.Tags != 3 {
		t.Errorf("error %v, report %+v", err, r)
	}
}

func TestCopySharedChildIsPushedOnce(t *testing.T) {
	var src, dst ocitest.Memory
	child := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 100))
	one := ocitest.Index(child, ocitest.Image(ocitest.ARM64, ocitest.RandomLayer(2, 100)))
	two := ocitest.Index(child)
	var jobs []oci.Job
	for tag, g := range map[string]*ocitest.Graph{"one": one, "two": two, "child": child} {
		src.Add(from("app"), "", g)
		jobs = append(jobs, oci.Job{
			Name: tag, Root: g.Node(), From: []oci.Repository{from("app")}, To: []oci.Target{tagged("app", tag)},
		})
	}
	mustCopy(t, &src, &dst, jobs, oci.CopyOptions{})
	for tag, g := range map[string]*ocitest.Graph{"one": one, "two": two, "child": child} {
		checkArrived(t, &dst, "app", tag, g)
	}
	pushed := 0
	for _, op := range dst.Ops("push") {
		if op.Digest == child.Digest {
			pushed++
		}
	}
	if pushed != 1 {
		t.Errorf("pushed %d times", pushed)
	}
}

// TestCopyLyingSize has two images that name one layer, of which one gives it another size.
func TestCopyLyingSize(t *testing.T) {
	var src, dst ocitest.Memory
	layer := ocitest.RandomLayer(1, 100)
	lie := layer
	lie.Size++
	right := ocitest.Image(ocitest.AMD64, layer)
	wrong := ocitest.Image(ocitest.ARM64, lie)
	src.Add(from("app"), "", wrong)
	src.Add(from("app"), "", right)
	r, err := oci.Copy(t.Context(), &src, &dst, []oci.Job{
		{Name: "wrong", Root: wrong.Node(), From: []oci.Repository{from("app")}, To: []oci.Target{tagged("app", "wrong")}},
		{Name: "right", Root: right.Node(), From: []oci.Repository{from("app")}, To: []oci.Target{tagged("app", "right")}},
	}, oci.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(r.Outcomes[0].Err, oci.ErrCorrupt) {
		t.Errorf("wrong size: error %v", r.Outcomes[0].Err)
	}
	checkArrived(t, &dst, "app", "right", right)
}

func TestCopySurvey(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 3)
	dst.Add(to("app0"), "v1", graphs[0])
	dst.Add(to("app1"), "v1", graphs[0])
	if err := oci.Survey(t.Context(), &dst, jobs, 0); err != nil {
		t.Fatal(err)
	}
	for i, want := range []digest.Digest{graphs[0].Digest, graphs[0].Digest, ""} {
		if got := jobs[i].To[0].Current; got != want {
			t.Errorf("%s names %q, want %q", jobs[i].Name, got, want)
		}
	}
	dst.Fault = fault(func(op ocitest.Op) error { // a tag that must not change
		return failIf(op.Name == "tag" && op.Repository == to("app0"), oci.ErrDenied)
	})
	mustCopy(t, &src, &dst, jobs, oci.CopyOptions{})
	for i, g := range graphs {
		checkArrived(t, &dst, jobs[i].Name, "v1", g)
	}
}

func TestCopyThroughAStore(t *testing.T) {
	var src, dst ocitest.Memory
	graphs, jobs := fleet(&src, 5)
	s := openStore(t, t.TempDir())
	down, up := make([]oci.Job, len(jobs)), make([]oci.Job, len(jobs))
	for i, j := range jobs {
		down[i] = oci.Job{Name: j.Name, Root: j.Root, From: j.From, To: []oci.Target{{}}}
		up[i] = oci.Job{Name: j.Name, Root: j.Root, To: j.To}
	}
	r := mustCopy(t, &src, s, down, oci.CopyOptions{Events: func(e oci.Event) {
		if has, err := s.Has(context.Background(), here, e.Descriptor); e.Kind == oci.EventDone && (!has || err != nil) {
			t.Errorf("%s is told to be done and not there: %v", e.Descriptor.Digest, err)
		}
	}})
	if n := len(isBlob(graphs)); r.Moved != n || len(src.Ops("open")) != n {
		t.Errorf("report %+v", r)
	}
	mustCopy(t, s, &dst, up, oci.CopyOptions{LargestFirst: true})
	for i, g := range graphs {
		checkArrived(t, &dst, jobs[i].Name, "v1", g)
	}
}

func TestCopyEventsAddUp(t *testing.T) {
	var src ocitest.Memory
	graphs, jobs := fleet(&src, 4)
	s := openStore(t, t.TempDir())
	broken := map[digest.Digest]bool{}
	var mu sync.Mutex
	src.Body = func(op ocitest.Op, r io.ReadCloser) io.ReadCloser { // the first reading of each blob breaks off
		mu.Lock()
		defer mu.Unlock()
		if broken[op.Digest] {
			return r
		}
		broken[op.Digest] = true
		return io.NopCloser(io.MultiReader(io.LimitReader(r, 20), iotest.ErrReader(errCut)))
	}
	for i := range jobs {
		jobs[i].To = []oci.Target{{}}
	}
	if _, err := oci.Copy(t.Context(), &src, s, jobs, oci.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	started, position := map[digest.Digest]int{}, map[digest.Digest]int64{}
	ended := map[digest.Digest]oci.EventKind{}
	r := mustCopy(t, &src, s, jobs, oci.CopyOptions{Events: func(e oci.Event) {
		switch e.Kind {
		case oci.EventStart:
			started[e.Descriptor.Digest]++
		case oci.EventAdvance, oci.EventResume:
			position[e.Descriptor.Digest] += e.Bytes
		default:
			ended[e.Descriptor.Digest] = e.Kind
		}
	}})
	var moved int64
	for dgst := range isBlob(graphs) {
		fi, err := s.OpenBlob(descriptorOf(graphs, dgst))
		if err != nil {
			t.Fatal(err)
		}
		_ = fi.Close()
		size := descriptorOf(graphs, dgst).Size
		if started[dgst] != 1 || position[dgst] != size || ended[dgst] != oci.EventDone {
			t.Errorf("%s: %d starts, at %d of %d, ended with %d", dgst, started[dgst], position[dgst], size, ended[dgst])
		}
		moved += size - 20
	}
	if r.MovedBytes != moved {
		t.Errorf("moved %d bytes, want %d", r.MovedBytes, moved)
	}
}

func descriptorOf(graphs []*ocitest.Graph, dgst digest.Digest) oci.Descriptor {
	for _, g := range graphs {
		for _, b := range g.All() {
			if b.Digest == dgst {
				return b.Descriptor
			}
		}
	}
	return oci.Descriptor{}
}

func TestCopyCancel(t *testing.T) {
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	var dst ocitest.Memory
	src := ocitest.Memory{Fault: func(ctx context.Context, op ocitest.Op) error {
		if op.Name == "open" { // every transfer hangs until the copy is called off
			cancel(errEnough)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	_, jobs := fleet(&src, 5)
	r, err := oci.Copy(ctx, &src, &dst, jobs, oci.CopyOptions{})
	if !errors.Is(err, errEnough) {
		t.Errorf("error %v", err)
	}
	for _, o := range r.Outcomes {
		if !errors.Is(o.Err, errEnough) {
			t.Errorf("%s: error %v", o.Job, o.Err)
		}
	}
	if len(r.Outcomes) != 5 || len(dst.Ops("tag")) != 0 {
		t.Errorf("%d outcomes, %d tags", len(r.Outcomes), len(dst.Ops("tag")))
	}
}

func TestCopyStop(t *testing.T) {
	errFull := errors.New("no space left")
	var src ocitest.Memory
	graphs, jobs := fleet(&src, 20)
	bad := graphs[1].Children[0].Blobs[0].Digest
	dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
		return failIf(op.Name == "push" && op.Digest == bad, errFull)
	})}
	r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{
		Transfers: 1,
		Stop:      func(err error) bool { return errors.Is(err, errFull) },
	})
	if e := errorOf(t, err); !errors.Is(err, errFull) || e.Digest != bad || e.Source {
		t.Errorf("error %v", err)
	}
	if n := len(r.Failed()); n < 18 {
		t.Errorf("%d images failed, want the copy to end at once", n)
	}
	for _, o := range r.Failed() {
		if !errors.Is(o.Err, errFull) {
			t.Errorf("%s: error %v", o.Job, o.Err)
		}
	}
}

// TestCopyLostMeanwhile: what a registry loses between the question for it and the manifest is pushed again, once.
func TestCopyLostMeanwhile(t *testing.T) {
	g := ocitest.MultiArch(1, "app")
	child := g.Children[1]
	for name, c := range map[string]struct {
		lost digest.Digest
		when func(op ocitest.Op) bool
	}{
		"layer":    {child.Blobs[1].Digest, func(op ocitest.Op) bool { return op.Name == "push" && op.Digest == child.Digest }},
		"manifest": {child.Digest, func(op ocitest.Op) bool { return op.Name == "tag" }},
	} {
		for _, times := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s lost %d times", name, times), func(t *testing.T) {
				var src, dst ocitest.Memory
				src.Add(from("app"), "", g)
				jobs := []oci.Job{{
					Name: "app", Root: g.Node(), From: []oci.Repository{from("app")}, To: []oci.Target{tagged("app", "v1")},
				}}
				var lost atomic.Int32
				dst.Fault = fault(func(op ocitest.Op) error {
					if c.when(op) && int(lost.Add(1)) <= times {
						dst.Lose(to("app"), c.lost)
					}
					return nil
				})
				r, err := oci.Copy(t.Context(), &src, &dst, jobs, oci.CopyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if times == 1 {
					checkArrived(t, &dst, "app", "v1", g)
				} else if len(r.Failed()) != 1 || !errors.Is(r.Failed()[0].Err, oci.ErrIncomplete) {
					t.Errorf("failed %v", r.Failed())
				}
			})
		}
	}
}

func TestCopyBadJobs(t *testing.T) {
	var m ocitest.Memory
	for name, j := range map[string]oci.Job{
		"no root":    {Name: "app", To: []oci.Target{tagged("app", "v1")}},
		"not parsed": {Name: "app", Root: &oci.Node{Descriptor: describe(nil)}, To: []oci.Target{tagged("app", "v1")}},
	} {
		r, err := oci.Copy(t.Context(), &m, &m, []oci.Job{j}, oci.CopyOptions{})
		if err == nil || len(r.Failed()) != 1 || !strings.Contains(err.Error(), "app") {
			t.Errorf("%s: error %v, failed %v", name, err, r.Failed())
		}
	}
	if r, err := oci.Copy(t.Context(), &m, &m, nil, oci.CopyOptions{}); err != nil || len(r.Outcomes) != 0 {
		t.Errorf("no jobs: error %v, report %+v", err, r)
	}
}

func TestCopyOrder(t *testing.T) {
	var src ocitest.Memory
	small, large := ocitest.RandomLayer(1, 100), ocitest.RandomLayer(2, 10_000)
	g := ocitest.Image(ocitest.AMD64, small, large)
	src.Add(from("app"), "", g)
	jobs := []oci.Job{{Name: "app", Root: g.Node(), From: []oci.Repository{from("app")}, To: []oci.Target{tagged("app", "v1")}}}
	config := g.Blobs[0]
	for largest, want := range map[bool][]digest.Digest{
		false: {config.Digest, small.Digest, large.Digest},
		true:  {large.Digest, config.Digest, small.Digest},
	} {
		if largest && config.Size < small.Size {
			want[1], want[2] = want[2], want[1]
		}
		var dst ocitest.Memory
		before := len(src.Ops("open"))
		mustCopy(t, &src, &dst, jobs, oci.CopyOptions{Transfers: 1, LargestFirst: largest})
		var got []digest.Digest
		for _, op := range src.Ops("open")[before:] {
			got = append(got, op.Digest)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("largest first %v: order %v, want %v", largest, got, want)
		}
	}
}

// pipe is a source that gives its blobs once, in their order: Open waits until all before it have been closed or
// skipped, and fails the test when that cannot come to be.
type pipe struct {
	t     *testing.T
	blobs []ocitest.Blob

	mu      sync.Mutex
	passed  *sync.Cond
	state   []string // "", "open", "closed", "skipped"
	skipped int

	released []bool
	finished atomic.Bool
	bad      error // what Finish is to return
}

func newPipe(t *testing.T, graphs ...*ocitest.Graph) *pipe {
	p := &pipe{t: t}
	seen := map[digest.Digest]bool{}
	for _, g := range graphs {
		for _, b := range g.All() {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				p.blobs = append(p.blobs, b)
			}
		}
	}
	p.state, p.released = make([]string, len(p.blobs)), make([]bool, len(p.blobs))
	p.passed = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) InOrder() []oci.Descriptor {
	var ds []oci.Descriptor
	for _, b := range p.blobs {
		ds = append(ds, b.Descriptor)
	}
	return ds
}

func (p *pipe) at(d oci.Descriptor) int {
	for i, b := range p.blobs {
		if b.Digest == d.Digest {
			return i
		}
	}
	p.t.Errorf("asked for %s, which is not in the pipe", d.Digest)
	return 0
}

func (p *pipe) Release(d oci.Descriptor) {
	i := p.at(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.released[i]:
		p.t.Errorf("%s is released twice", d.Digest)
	case p.state[i] == "open":
		p.t.Errorf("%s is released while it is open", d.Digest)
	case p.state[i] == "":
		p.state[i] = "skipped"
		p.skipped++
	}
	p.released[i] = true
	p.passed.Broadcast()
}

// Finish fails the test unless all blobs were released.
func (p *pipe) Finish(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, released := range p.released {
		if !released {
			p.t.Errorf("%s was not released at the end", p.blobs[i].Digest)
		}
	}
	p.finished.Store(true)
	return p.bad
}

func (p *pipe) pass(i int, how string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state[i] == "skipped" || p.state[i] == "closed" {
		p.t.Errorf("%s is %s, and was %s before", p.blobs[i].Digest, how, p.state[i])
	}
	p.state[i] = how
	if how == "skipped" {
		p.skipped++
	}
	p.passed.Broadcast()
}

func (p *pipe) Open(_ context.Context, _ oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	i := p.at(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state[i] != "" {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, oci.ErrGone)
	}
	p.state[i] = "open"
	for !p.allPassed(i) {
		p.passed.Wait()
	}
	r := bytes.NewReader(p.blobs[i].Bytes[offset:])
	return &pipeReader{r, func() { p.pass(i, "closed") }}, nil
}

func (p *pipe) allPassed(i int) bool {
	for _, s := range p.state[:i] {
		if s == "" || s == "open" {
			return false
		}
	}
	return true
}

type pipeReader struct {
	io.Reader
	close func()
}

func (r *pipeReader) Close() error {
	r.close()
	return nil
}

func pipeJobs(n int) (graphs []*ocitest.Graph, jobs []oci.Job) {
	graphs, jobs = fleet(&ocitest.Memory{}, n)
	for i := range jobs {
		jobs[i].From = nil
	}
	return graphs, jobs
}

func TestCopyFromPipe(t *testing.T) {
	for _, transfers := range []int{1, 2, 3, 8, 40} {
		graphs, jobs := pipeJobs(12)
		unneeded := ocitest.MultiArch(7, "unneeded")
		var dst ocitest.Memory
		dst.Add(to("app3"), "", graphs[3]) // so that much can be skipped or mounted
		p := newPipe(t, append([]*ocitest.Graph{unneeded}, graphs...)...)
		r := mustCopy(t, p, &dst, jobs, oci.CopyOptions{Transfers: transfers, LargestFirst: true})
		for i, g := range graphs {
			checkArrived(t, &dst, jobs[i].Name, "v1", g)
		}
		for i, s := range p.state {
			if s != "closed" && s != "skipped" {
				t.Errorf("%d transfers: %s was neither opened nor skipped", transfers, p.blobs[i].Digest)
			}
		}
		if r.Moved != 11*4 { // of each other image two configs and two layers of its own
			t.Errorf("%d transfers: report %+v", transfers, r)
		}
	}
}

func TestCopyFromPipeToTwoHosts(t *testing.T) {
	other := oci.Repository{Host: "other.test", Path: "app0"}
	graphs, jobs := pipeJobs(3)
	jobs[0].To = append(jobs[0].To, oci.Target{Repository: other, Tag: "v1"})
	var dst ocitest.Memory
	mustCopy(t, newPipe(t, graphs...), &dst, jobs, oci.CopyOptions{})
	checkArrived(t, &dst, "app0", "v1", graphs[0])
	if err := dst.Holds(other, graphs[0]); err != nil {
		t.Error(err)
	}

	// A sink that cannot be read from cannot give back what the pipe gave once.
	dst = ocitest.Memory{}
	sink := struct {
		oci.Sink
		oci.Mounter
		oci.Tagger
	}{&dst, &dst, &dst}
	r, err := oci.Copy(t.Context(), newPipe(t, graphs...), sink, jobs, oci.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range r.Outcomes { // those of app0 are first
		if isOther := i == 1; isOther != errors.Is(o.Err, oci.ErrGone) {
			t.Errorf("%s: error %v", o.Target, o.Err)
		}
	}
}

// TestCopyFromPipeFinish: no tag is set before the end of the source was seen to be good.
func TestCopyFromPipeFinish(t *testing.T) {
	errEnd := errors.New("bad end")
	for _, end := range []error{nil, errEnd} {
		graphs, jobs := pipeJobs(3)
		p := newPipe(t, graphs...)
		p.bad = end
		var early atomic.Bool
		dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
			if op.Name == "tag" && !p.finished.Load() {
				early.Store(true)
			}
			return nil
		})}
		r, err := oci.Copy(t.Context(), p, &dst, jobs, oci.CopyOptions{})
		if !errors.Is(err, end) || early.Load() {
			t.Errorf("error %v, want %v; a tag was set early: %v", err, end, early.Load())
		}
		for _, o := range r.Outcomes {
			if !errors.Is(o.Err, end) {
				t.Errorf("%s: error %v, want %v", o.Target, o.Err, end)
			}
		}
		if tags := len(dst.Ops("tag")); end != nil && tags > 0 || end == nil && tags != 3 {
			t.Errorf("%d tags were set after %v", tags, end)
		}
	}
}

// seenPipe is a pipe whose end was seen before.
type seenPipe struct{ *pipe }

func (seenPipe) EndSeen() bool { return true }

// TestCopyFromSeenSource: an image has its tag as soon as it is complete, while others are still read in order.
func TestCopyFromSeenSource(t *testing.T) {
	graphs, jobs := pipeJobs(3)
	p := seenPipe{newPipe(t, graphs...)}
	late := 0
	dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
		if op.Name == "tag" && p.finished.Load() {
			late++
		}
		return nil
	})}
	mustCopy(t, p, &dst, jobs, oci.CopyOptions{Transfers: 1})
	if tags := len(dst.Ops("tag")); tags != 3 || late > 0 {
		t.Errorf("%d tags were set, %d of them at the end", tags, late)
	}
	for i, g := range graphs {
		checkArrived(t, &dst, jobs[i].Name, "v1", g)
	}
}

func TestCopyFromPipeWhenTheSinkFails(t *testing.T) {
	graphs, jobs := pipeJobs(6)
	bad := graphs[2].Children[0].Blobs[2].Digest
	dst := ocitest.Memory{Fault: fault(func(op ocitest.Op) error {
		return failIf((op.Name == "push" || op.Name == "has") && op.Digest == bad, oci.ErrDenied)
	})}
	r, err := oci.Copy(t.Context(), newPipe(t, graphs...), &dst, jobs, oci.CopyOptions{Transfers: 2})
	if err != nil || len(r.Failed()) != 1 || r.Failed()[0].Job != "app2" {
		t.Errorf("error %v, failed %v", err, r.Failed())
	}
}

// TestCopyWithRandomFaults copies many random sets of images while operations fail at random, and holds the report
// against what is in the sink.
func TestCopyWithRandomFaults(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var src, dst ocitest.Memory
		graphs, jobs := fleet(&src, 1+rnd.IntN(8))
		for i := range jobs {
			jobs[i].From = append(jobs[i].From, from("mirror"))
			src.Add(from("mirror"), "", graphs[i])
			for range rnd.IntN(3) {
				host := oci.Repository{Host: fmt.Sprintf("host%d.test", rnd.IntN(3)), Path: fmt.Sprintf("app%d", rnd.IntN(4))}
				jobs[i].To = append(jobs[i].To, oci.Target{Repository: host, Tag: fmt.Sprintf("tag%d", i)})
			}
		}
		bad := rnd.Uint64N(20)
		faults := func(name string) func(context.Context, ocitest.Op) error {
			return fault(func(op ocitest.Op) error {
				h := digest.FromString(fmt.Sprint(name, seed, op)) // the same operation fails each time
				return failIf(uint64(h[len(h)-1])%32 == bad, oci.ErrDenied)
			})
		}
		src.Fault, dst.Fault = faults("src"), faults("dst")
		hold := rnd.IntN(2) == 0
		r := copyInTime(t, &src, &dst, jobs, oci.CopyOptions{Transfers: 1 + rnd.IntN(8), HoldTags: hold})
		dst.Fault = nil
		i := 0
		for k, j := range jobs {
			for _, target := range j.To {
				o := r.Outcomes[i]
				i++
				tag := dst.Tags(target.Repository)[target.Tag]
				if (o.Err == nil) != (tag == graphs[k].Digest) {
					t.Fatalf("seed %d: %s: error %v, and the tag names %q", seed, target, o.Err, tag)
				}
				if tag == "" {
					continue
				}
				if err := dst.Holds(target.Repository, graphs[k]); err != nil {
					t.Fatalf("seed %d: %s is tagged: %v", seed, target, err)
				}
				if hold && len(r.Failed()) > len(dst.Ops("tag")) && errors.Is(r.Failed()[0].Err, oci.ErrHeld) {
					t.Fatalf("seed %d: %s is tagged though others failed", seed, target)
				}
			}
		}
	}
}

// copyInTime fails the test when a copy does not come to its end.
func copyInTime(t *testing.T, src oci.Source, dst oci.Sink, jobs []oci.Job, o oci.CopyOptions) *oci.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := oci.Copy(ctx, src, dst, jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
