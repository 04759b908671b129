package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// breakOff pushes the blob with a client that gives up after so many bytes, as one that is killed does, and returns the
// file that it leaves.
func breakOff(t *testing.T, srv *registrytest.Server, dir string, raw []byte, d oci.Descriptor, after int64) string {
	t.Helper()
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, registrytest.CutUpload(after))
	c, _ := newTestClient(t, srv, Options{Retries: -1, StateDir: dir})
	err := c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open)
	if err == nil {
		t.Fatal("the upload did not break")
	}
	checkErr(t, err, err)
	files, _ := filepath.Glob(filepath.Join(dir, "uploads", "*"))
	if len(files) != 1 {
		t.Fatalf("files %q, want one", files)
	}
	return files[0]
}

// offsets notes where content is opened.
func offsets(open oci.Content, list *[]int64) oci.Content {
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		*list = append(*list, offset)
		return open(ctx, offset)
	}
}

func TestPushGoesOnInLaterProcess(t *testing.T) {
	raw, d := hugeContent()
	for name, test := range map[string]struct {
		o      registrytest.Options
		after  int64
		change func(t *testing.T, srv *registrytest.Server, file string)
		opened []int64 // where the content is, by the later process
		posts  int     // of the later process
	}{
		"goes on":                  {after: 9 << 20, opened: []int64{8 << 20}},
		"goes on before any mark":  {after: 3 << 20, opened: []int64{0}},
		"all but a byte came":      {after: huge - 1, opened: []int64{8 << 20}},
		"with a relative location": {o: registrytest.Options{Location: registrytest.Relative}, after: 5 << 20, opened: []int64{4 << 20}},
		"on another host":          {o: registrytest.Options{Location: registrytest.OtherHost}, after: 5 << 20, opened: []int64{4 << 20}},
		"behind a login": {
			o:     registrytest.Options{Auth: registrytest.Bearer, Username: testUser, Password: testPassword},
			after: 5 << 20, opened: []int64{4 << 20},
		},
		"session gone": {
			after: 5 << 20, opened: []int64{0}, posts: 1,
			change: func(_ *testing.T, srv *registrytest.Server, _ string) { srv.ForgetAllUploads() },
		},
		"file garbled": {
			after: 5 << 20, opened: []int64{0}, posts: 1,
			change: func(t *testing.T, _ *registrytest.Server, file string) { write(t, file, []byte("\x00\x00")) },
		},
		"file of something else": {
			after: 5 << 20, opened: []int64{0}, posts: 1,
			change: func(t *testing.T, _ *registrytest.Server, file string) {
				edit(t, file, func(f *uploadFile) { f.Size++ })
			},
		},
		"location that is none": {
			after: 5 << 20, opened: []int64{0}, posts: 1,
			change: func(t *testing.T, _ *registrytest.Server, file string) {
				edit(t, file, func(f *uploadFile) { f.Location = "file:///etc/passwd" })
			},
		},
		"hash that is none": {
			after: 5 << 20, opened: []int64{0},
			change: func(t *testing.T, _ *registrytest.Server, file string) {
				edit(t, file, func(f *uploadFile) { f.Marks[0].State = []byte("sha") })
			},
		},
		"hash of something else": { // the mark is what is wrong, and the content is read once more
			after: 5 << 20, opened: []int64{4 << 20, 0}, posts: 1,
			change: func(t *testing.T, _ *registrytest.Server, file string) {
				edit(t, file, func(f *uploadFile) { f.Marks[0].State[20] ^= 1 })
			},
		},
		"old": {
			after: 5 << 20, opened: []int64{0}, posts: 1,
			change: func(t *testing.T, _ *registrytest.Server, file string) {
				old := newFakeClock().now().Add(-8 * 24 * time.Hour)
				if err := os.Chtimes(file, old, old); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, srv := t.TempDir(), registrytest.New(t, test.o)
			file := breakOff(t, srv, dir, raw, d, test.after)
			if test.change != nil {
				test.change(t, srv, file)
			}
			before := srv.BytesReceived()
			posts := srv.Count("POST", registrytest.Upload)
			c, _ := newTestClient(t, srv, Options{StateDir: dir})
			var opened []int64
			src := &opener{raw: raw}
			checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, offsets(src.Open, &opened)), nil)
			if got, _ := srv.Blob("a/b", d.Digest); !bytes.Equal(got, raw) {
				t.Errorf("the registry has %d bytes that are not the blob's", len(got))
			}
			for i, want := range test.opened {
				// A mark is where a read ended, at the place or a little behind it.
				if i >= len(opened) || opened[i] < want || opened[i] > want+1<<20 {
					t.Errorf("content was opened at %d, want at %d", opened, test.opened)
					break
				}
			}
			if got := srv.Count("POST", registrytest.Upload) - posts; got != test.posts {
				t.Errorf("%d new sessions, want %d", got, test.posts)
			}
			if again := srv.BytesReceived() - d.Size; test.posts == 0 && again != 0 {
				t.Errorf("%d bytes came in twice, %d of them before", again, before)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "uploads", "*")); len(left) > 0 {
				t.Errorf("files are left: %q", left)
			}
		})
	}
}

// What can be read only from its start, as a pipe, is read from there, and sent from where the registry stands.
func TestPushGoesOnFromPipe(t *testing.T) {
	raw, d := hugeContent()
	dir, srv := t.TempDir(), registrytest.New(t, registrytest.Options{})
	breakOff(t, srv, dir, raw, d, 5<<20)
	c, _ := newTestClient(t, srv, Options{StateDir: dir})
	pipe := func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if offset > 0 {
			return nil, oci.ErrGone
		}
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	checkErr(t, c.Push(context.Background(), repoOf(srv, "a/b"), d, pipe), nil)
	if again := srv.BytesReceived() - d.Size; again != 0 {
		t.Errorf("%d bytes came in twice", again)
	}
}

// Content that is wrong is found out whatever the file says, and the file goes.
func TestPushLaterContentIsProven(t *testing.T) {
	raw, d := hugeContent()
	dir, srv := t.TempDir(), registrytest.New(t, registrytest.Options{})
	file := breakOff(t, srv, dir, raw, d, 5<<20)
	c, _ := newTestClient(t, srv, Options{StateDir: dir})
	err := c.Push(context.Background(), repoOf(srv, "a/b"), d, (&opener{raw: flip(raw, huge-1)}).Open)
	checkErr(t, err, oci.ErrCorrupt)
	if _, ok := srv.Blob("a/b", d.Digest); ok {
		t.Error("the registry has the blob")
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestUploadStateIsPrivate(t *testing.T) {
	raw, d := hugeContent()
	dir, srv := filepath.Join(t.TempDir(), "state"), registrytest.New(t, registrytest.Options{})
	file := breakOff(t, srv, dir, raw, d, 5<<20)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(file): 0o700, file: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	if name := filepath.Base(file); strings.Contains(name, "a") && strings.Contains(name, srv.Host()) || strings.Contains(name, "_state") {
		t.Errorf("the name %s tells something", name)
	}
	kept, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(kept, []byte("_state")) { // what the name and the errors must not have
		t.Errorf("the file has no session: %v", err)
	}
}

// Small blobs, other repositories and a folder that cannot be written leave nothing and disturb nothing.
func TestUploadStateIsNotKept(t *testing.T) {
	small, smallD := content(keepSize)
	raw, d := hugeContent()
	srv := registrytest.New(t, registrytest.Options{})
	dir := t.TempDir()
	c, _ := newTestClient(t, srv, Options{StateDir: dir})
	ctx := context.Background()
	checkErr(t, c.Push(ctx, repoOf(srv, "a/b"), smallD, (&opener{raw: small}).Open), nil)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("files are left: %q", left)
	}
	file := filepath.Join(dir, "taken")
	write(t, file, nil)
	c, _ = newTestClient(t, srv, Options{StateDir: file})
	srv.Fault(registrytest.Match{Method: "PUT", Times: 1}, registrytest.CutUpload(5<<20))
	checkErr(t, c.Push(ctx, repoOf(srv, "a/b"), d, (&opener{raw: raw}).Open), nil)

	breakOff(t, srv, dir, raw, d, 5<<20)
	c, _ = newTestClient(t, srv, Options{StateDir: dir})
	srv.ResetCounts()
	checkErr(t, c.Push(ctx, repoOf(srv, "a/other"), d, (&opener{raw: raw}).Open), nil)
	checkCounts(t, srv, map[string]int{"POST upload": 1, "PUT upload": 1, "GET upload": 0})
}

func TestMarks(t *testing.T) {
	_, d := content(100)
	h, err := oci.NewHash(d)
	if err != nil {
		t.Fatal(err)
	}
	var m marks
	const all = 10_000
	for i := range int64(all) {
		m.add(i*markEvery, h)
		m.add(i*markEvery+1, h) // too near
	}
	if len(m) > maxMarks {
		t.Errorf("%d marks, want at most %d", len(m), maxMarks)
	}
	for i := int64(all - recentMarks); i < all; i++ {
		if _, at, err := m.before(d, i*markEvery+5); at != i*markEvery || err != nil {
			t.Errorf("before piece %d: at %d, error %v", i, at, err)
		}
	}
	if _, at, err := m.before(d, markEvery-1); at != 0 || err != nil {
		t.Errorf("before the first mark: at %d, error %v", at, err)
	}
}

func write(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, change func(*uploadFile)) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f uploadFile
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Marks) == 0 {
		t.Fatal("no mark in the file")
	}
	change(&f)
	if raw, err = json.Marshal(f); err != nil {
		t.Fatal(err)
	}
	write(t, path, raw)
}
