package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// servedHost is the registry from which the images of served bundles are by name. There is none of that name, so whoever
// pulls them by that name has them from ferry.
const servedHost = "images.e2e.invalid"

// servedWorld is a world whose images have that name, and one of them a signature under cosign's tag and an SBOM.
type servedWorld struct {
	*world
	signed          corpus.Image
	signatureTag    string
	signature, sbom ocispec.Descriptor
}

func newServedWorld(t *testing.T) *servedWorld {
	t.Helper()
	s, err := demoStock()
	if err != nil {
		t.Fatal(err)
	}
	s.root = t.TempDir()
	if err := s.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &servedWorld{world: newWorldOf(t, s, distribution.Options{}, distribution.Options{})}
	w.write("images.list", corpus.List(servedHost, w.images))
	for _, image := range w.images {
		if image.Repository == "team/webapp" {
			w.signed = image
		}
	}
	from := wire.Registry{URL: w.source.URL()}
	w.signatureTag = strings.Replace(w.signed.Root.Digest.String(), ":", "-", 1) + ".sig"
	w.signature = w.artifact(from, w.signed, "signature", w.signatureTag)
	w.sbom = w.artifact(from, w.signed, "sbom", "")
	// A registry without referrers lists them under a tag.
	w.push(from, w.signed.Repository, strings.TrimSuffix(w.signatureTag, ".sig"), ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{w.sbom},
	})
	return w
}

// pack packs the images under the names of servedHost.
func (w *servedWorld) pack(bundle string, flags ...string) {
	w.Helper()
	w.ok(append([]string{"pack", "--mirror", servedHost + "=" + w.source.Host(), "-f", "images.list", "-o", bundle}, flags...)...)
}

// served is a ferry that serves.
type served struct {
	url, host string
	log       *lockedText // all of its standard error
}

// lockedText gathers text that is read while it grows.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) WriteString(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(s)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var servedAt = regexp.MustCompile(`https?://(127\.0\.0\.1:\d+)`)

// serve runs ferry serve until the story ends, on a free port, and returns when it listens.
func (w *world) serve(args ...string) *served {
	w.Helper()
	cmd := w.command(context.WithoutCancel(w.Context()), append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	s := &served{log: &lockedText{}}
	listens, ended := make(chan []string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewReader(stderr); ; {
			line, err := lines.ReadString('\n')
			s.log.WriteString(line)
			if at := servedAt.FindStringSubmatch(line); at != nil && s.url == "" {
				s.url, s.host = at[0], at[1]
				listens <- at
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					s.log.WriteString(err.Error())
				}
				return
			}
		}
	}()
	w.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			w.Error(err)
		}
		<-ended
		if err := cmd.Wait(); err != nil {
			w.Errorf("ferry serve: %v\n%s", err, s.log)
		}
	})
	select {
	case <-listens:
	case <-ended:
		w.Fatalf("ferry serve %s ended:\n%s", strings.Join(args, " "), s.log)
	}
	return s
}
