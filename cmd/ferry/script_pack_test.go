package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
	"github.com/ferry-oci/ferry/registry/registrytest"
)

// attested returns an image for three platforms, of which the first has an attestation, as BuildKit writes it.
func attested() *ocitest.Graph {
	s390x := oci.Platform{OS: "linux", Architecture: "s390x"}
	amd64 := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(80, 3000))
	return ocitest.Index(
		amd64,
		ocitest.Image(ocitest.ARM64, ocitest.RandomLayer(81, 3000)),
		ocitest.Image(s390x, ocitest.RandomLayer(82, 3000)),
		attestation(amd64, 83),
	)
}

// attestation returns what BuildKit puts into an index about an image.
func attestation(image *ocitest.Graph, seed uint64) *ocitest.Graph {
	statement := ocitest.Image(oci.Platform{OS: "unknown", Architecture: "unknown"}, ocitest.RandomLayer(seed, 300))
	statement.Annotations = map[string]string{
		"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.Digest.String(),
	}
	return statement
}

// withAttestation returns an index of an image and its attestation, which is what BuildKit makes for one platform.
func withAttestation(image *ocitest.Graph, seed uint64) *ocitest.Graph {
	return ocitest.Index(image, attestation(image, seed))
}

// twin returns an image for amd64, the same one each time, and for another architecture.
func twin(arch string) *ocitest.Graph {
	other := oci.Platform{OS: "linux", Architecture: arch}
	return ocitest.Index(
		ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(70, 3000)), ocitest.Image(other, ocitest.RandomLayer(71, 3000)),
	)
}

// ownLayer returns the layer of a test image that no other has.
func ownLayer(image string) ocitest.Blob {
	blobs := testImages[image].graph().Children[0].Blobs
	return blobs[len(blobs)-1]
}

// push REGISTRY REPOSITORY[:TAG] IMAGE puts an image into a registry.
func (s *story) push(_ *testscript.TestScript, args []string) error {
	r, g := s.registries[args[0]], testImages[args[2]].graph()
	repo, tag, tagged := strings.Cut(args[1], ":")
	for _, b := range g.All() {
		if oci.IsManifest(b.MediaType) {
			r.AddManifest(repo, b.MediaType, b.Bytes)
		} else {
			r.AddBlob(repo, b.Bytes)
		}
	}
	if tagged {
		r.Tag(repo, tag, g.Digest)
	}
	return nil
}

// digest IMAGE NAME sets $NAME to the digest of a test image.
func (s *story) digest(ts *testscript.TestScript, args []string) error {
	ts.Setenv(args[1], testImages[args[0]].graph().Digest.String())
	return nil
}

// fault REGISTRY WHAT [layer=IMAGE] [repo=REPOSITORY] [kind=KIND] [times=N] [method=METHOD] [tag=IMAGE] makes a
// registry answer requests wrongly, those of GET unless it says otherwise.
// WHAT is a status, later (429 with Retry-After), quota (429 as Docker Hub's, for a second), cut, corrupt, longer,
// shorter or lie (another digest in the header).
func (s *story) fault(_ *testscript.TestScript, args []string) error {
	m := registrytest.Match{Method: "GET"}
	for _, word := range args[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "layer":
			m.Kind, m.Ref = registrytest.Blob, ownLayer(value).Digest.String()
		case "repo":
			m.Repo = value
		case "method":
			m.Method = value
		case "tag": // cosign's of the image
			m.Ref = ocitest.CosignTag(testImages[value].graph())
		case "kind":
			m.Kind = registrytest.Kind(value)
		case "times":
			m.Times, _ = strconv.Atoi(value)
		default:
			return fmt.Errorf("fault: %q", word)
		}
	}
	if args[1] == "lie" {
		m.Method = "" // it is HEAD that resolves a tag
	}
	faults := map[string]registrytest.Fault{
		"later": registrytest.TooManyRequests(1), "cut": registrytest.Cut(50), "corrupt": registrytest.Corrupt(),
		"quota": registrytest.Status(429, "toomanyrequests: You have reached your pull rate limit.",
			"RateLimit-Limit", "100;w=21600", "RateLimit-Remaining", "0;w=21600", "Retry-After", "1"),
		"lie":    registrytest.Header("Docker-Content-Digest", ownLayer("pause").Digest.String()),
		"longer": registrytest.Resize(1), "shorter": registrytest.Resize(-1),
	}
	f, ok := faults[args[1]]
	if !ok {
		status, err := strconv.Atoi(args[1])
		if err != nil {
			return fmt.Errorf("fault: %q", args[1])
		}
		f = registrytest.Code(status, "", "out of order")
	}
	s.registries[args[0]].Fault(m, f)
	return nil
}

// quota REGISTRY N lets a registry give N manifests more.
func (s *story) quota(_ *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[1])
	s.registries[args[0]].SetQuota(n)
	return err
}

// lose REGISTRY REPOSITORY IMAGE takes the second manifest of an index out of a registry.
func (s *story) lose(_ *testscript.TestScript, args []string) error {
	s.registries[args[0]].Remove(args[1], testImages[args[2]].graph().Children[1].Digest)
	return nil
}

// behave REGISTRY ends its faults.
func (s *story) behave(_ *testscript.TestScript, args []string) error {
	s.registries[args[0]].ClearFaults()
	return nil
}

// once REGISTRY proves that no blob and no manifest was fetched twice.
func (s *story) once(_ *testscript.TestScript, args []string) error {
	seen := map[string]bool{}
	for _, q := range s.registries[args[0]].Requests() {
		if q.Method != "GET" || q.Kind != registrytest.Blob && q.Kind != registrytest.Manifest {
			continue
		}
		if seen[q.Ref] {
			return fmt.Errorf("%s was fetched twice", q.Ref)
		}
		seen[q.Ref] = true
	}
	return nil
}

// fetched REGISTRY N proves how many blobs were fetched.
func (s *story) fetched(_ *testscript.TestScript, args []string) error {
	n := s.registries[args[0]].Count("GET", registrytest.Blob)
	if strconv.Itoa(n) != args[1] {
		return fmt.Errorf("%d blobs were fetched, want %s", n, args[1])
	}
	return nil
}

// stall REGISTRY IMAGE makes the registry send half of the image's own layer and stand still.
func (s *story) stall(_ *testscript.TestScript, args []string) error {
	b := ownLayer(args[1])
	reached, never := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.stalled[args[0]] = reached
	s.registries[args[0]].Fault(registrytest.Match{Method: "GET", Ref: b.Digest.String()},
		registrytest.Stall(b.Size/2, func() { once.Do(func() { close(reached) }) }, never))
	return nil
}

// await REGISTRY waits until the registry stands still.
func (s *story) await(_ *testscript.TestScript, args []string) error {
	<-s.stalled[args[0]]
	return nil
}

// hold DIR opens a store, as another run would, until release DIR.
func (s *story) hold(ts *testscript.TestScript, args []string) (err error) {
	s.stores[args[0]], err = oci.OpenStore(ts.MkAbs(args[0]))
	return err
}

// release DIR closes a store that hold has opened.
func (s *story) release(_ *testscript.TestScript, args []string) error {
	return s.stores[args[0]].Close()
}

// appear FILE waits until the file is there.
func (s *story) appear(ts *testscript.TestScript, args []string) error {
	path := ts.MkAbs(args[0])
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-s.tb.Context().Done():
			return s.tb.Context().Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// garble PATTERN spoils the first line of the files that fit, of which there must be some.
func (s *story) garble(ts *testscript.TestScript, args []string) error {
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no file fits %s: %w", args[0], err)
	}
	for _, path := range paths {
		if err := os.WriteFile(path, []byte("\x00\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// spoil DIR IMAGE changes a bit of the image's own layer in a store.
func (s *story) spoil(ts *testscript.TestScript, args []string) error {
	d := ownLayer(args[1]).Digest
	path := filepath.Join(ts.MkAbs(args[0]), "blobs", d.Algorithm().String(), d.Encoded())
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw[len(raw)/2] ^= 1
	return os.WriteFile(path, raw, 0o644)
}
