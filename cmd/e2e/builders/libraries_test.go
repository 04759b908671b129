package builders

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/containerd/stargz-snapshotter/estargz"
	klausgzip "github.com/klauspost/compress/gzip"
	klauspgzip "github.com/klauspost/pgzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// golang makes layers with the gzip of the Go that this test was built with.
func golang(level int) func(*bench) []byte {
	return zipper(func(w io.Writer) (io.WriteCloser, error) { return stdgzip.NewWriterLevel(w, level) })
}

func klauspost(level int) func(*bench) []byte {
	return zipper(func(w io.Writer) (io.WriteCloser, error) { return klausgzip.NewWriterLevel(w, level) })
}

func pgzip(level, chunk int) func(*bench) []byte {
	return zipper(func(w io.Writer) (io.WriteCloser, error) {
		z, err := klauspgzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(chunk, 2)
	})
}

func zipper(open func(io.Writer) (io.WriteCloser, error)) func(*bench) []byte {
	return func(b *bench) []byte {
		var blob bytes.Buffer
		z, err := open(&blob)
		if err != nil {
			b.Fatal(err)
		}
		_, err = z.Write(b.tar)
		if err := errors.Join(err, z.Close()); err != nil {
			b.Fatal(err)
		}
		return blob.Bytes()
	}
}

func stargz(chunk int) func(*bench) []byte {
	return func(b *bench) []byte {
		made, err := estargz.Build(io.NewSectionReader(bytes.NewReader(b.tar), 0, int64(len(b.tar))), estargz.WithChunkSize(chunk))
		if err != nil {
			b.Fatal(err)
		}
		blob, err := io.ReadAll(made)
		if err := errors.Join(err, made.Close()); err != nil {
			b.Fatal(err)
		}
		return blob
	}
}

// skopeo copies an image with a plain layer into a layout, where it compresses it.
func skopeo(b *bench) []byte {
	l, err := corpus.NewLayout(b.path("plain"))
	if err != nil {
		b.Fatal(err)
	}
	d, err := l.Put(ocispec.MediaTypeImageLayer, b.tar)
	if err != nil {
		b.Fatal(err)
	}
	plain := corpus.OCI
	plain.Layer = ocispec.MediaTypeImageLayer
	root, err := l.Image(plain, corpus.Platforms()[0], []corpus.Layer{{Descriptor: d, DiffID: d.Digest}})
	if err := errors.Join(err, l.WriteIndex([]corpus.Image{{Repository: "plain", Tag: "1", Root: root}})); err != nil {
		b.Fatal(err)
	}
	b.run("skopeo", "copy", "--insecure-policy", "-q", "oci:plain:plain:1", "oci:gzip")
	return b.layer("gzip")
}

func buildah(b *bench) []byte {
	run := func(args ...string) string {
		out := b.run("buildah", append([]string{"--root", b.path("root"), "--runroot", b.path("run"), "--storage-driver", "vfs"}, args...)...)
		return string(bytes.TrimSpace(out))
	}
	container := run("from", "scratch")
	run("add", "-q", container, "layer.tar", "/")
	run("commit", "-q", "--rm", "--disable-compression=false", container, "oci:"+b.path("image"))
	return b.layer("image")
}

func umoci(b *bench) []byte {
	b.run("umoci", "init", "--layout", "image")
	b.run("umoci", "new", "--image", "image:latest")
	b.run("umoci", "raw", "add-layer", "--image", "image:latest", "layer.tar")
	return b.layer("image")
}

// python makes layers with the zlib that Python is linked with.
func python(level int) func(*bench) []byte {
	const program = "import gzip, sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read(), int(sys.argv[1])))"
	return func(b *bench) []byte { return b.run("python3", "-c", program, strconv.Itoa(level)) }
}

func java(b *bench) []byte {
	b.write("Gzip.java", []byte(`
import java.util.zip.GZIPOutputStream;
public class Gzip {
    public static void main(String[] args) throws Exception {
        try (GZIPOutputStream out = new GZIPOutputStream(System.out)) {
            System.in.transferTo(out);
        }
    }
}`))
	return b.run("java", "Gzip.java")
}

// go127 makes layers with the gzip of Go 1.27, which go fetches where it may.
func go127(level int) func(*bench) []byte {
	const toolchain = "GOTOOLCHAIN=go1.27.2"
	return func(b *bench) []byte {
		probe := exec.CommandContext(b.Context(), "go", "version")
		probe.Env = append(os.Environ(), toolchain)
		if out, err := probe.CombinedOutput(); err != nil {
			b.Skipf("no Go 1.27 here: %v: %s", err, out)
		}
		b.write("gzip.go", []byte(`package main

import (
	"compress/gzip"
	"io"
	"os"
	"strconv"
)

func main() {
	level, err := strconv.Atoi(os.Args[1])
	check(err)
	z, err := gzip.NewWriterLevel(os.Stdout, level)
	check(err)
	_, err = io.Copy(z, os.Stdin)
	check(err)
	check(z.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
`))
		return b.run("env", toolchain, "GOCACHE="+b.path("cache"), "go", "run", "gzip.go", strconv.Itoa(level))
	}
}
