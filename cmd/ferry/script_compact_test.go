package main

import (
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"math/rand/v2"

	kpgzip "github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci/ocitest"
)

// words returns n bytes that shrink as text does, the same for the same seed.
func words(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x %d\n", r.IntN(5000)*r.IntN(5000), r.IntN(300))
	}
	return b.Bytes()[:n]
}

// zipped returns a gzip layer of plain bytes, as a writer makes it that open returns.
func zipped[W interface {
	Write([]byte) (int, error)
	Close() error
}](plain []byte, open func(*bytes.Buffer) (W, error),
) ocitest.Blob {
	var b bytes.Buffer
	w, err := open(&b)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // memory takes all
	}
	layer := ocitest.NewBlob(ocispec.MediaTypeImageLayerGzip, b.Bytes())
	layer.DiffID = digest.FromBytes(plain)
	return layer
}

// goLayer returns a layer as Go makes it at a level.
func goLayer(plain []byte, level int) ocitest.Blob {
	return zipped(plain, func(b *bytes.Buffer) (*stdgzip.Writer, error) { return stdgzip.NewWriterLevel(b, level) })
}

// strangeLayer returns a layer of an encoder that no engine is.
func strangeLayer(plain []byte) ocitest.Blob {
	return zipped(plain, func(b *bytes.Buffer) (*kpgzip.Writer, error) { return kpgzip.NewWriterLevel(b, kpgzip.BestCompression) })
}

// tornLayer returns a layer whose gzip ends too early.
func tornLayer(plain []byte) ocitest.Blob {
	whole := goLayer(plain, stdgzip.DefaultCompression)
	torn := ocitest.NewBlob(whole.MediaType, whole.Bytes[:len(whole.Bytes)-100])
	torn.DiffID = whole.DiffID
	return torn
}

// fineLayers returns an image of which each layer can be re-created. Its platforms have nearly the same content.
func fineLayers() *ocitest.Graph {
	return ocitest.Index(
		ocitest.Image(ocitest.AMD64, goLayer(words(1, 200_000), 6), goLayer(words(2, 50_000), 1)),
		ocitest.Image(ocitest.ARM64, goLayer(append([]byte("arm64\n"), words(1, 200_000)...), 9)),
	)
}

// mixedLayers returns an image with one layer that can be re-created, and one for each reason why others cannot.
func mixedLayers() *ocitest.Graph {
	wrong := goLayer(words(5, 40_000), 6)
	wrong.DiffID = digest.FromString("another layer")
	plain := ocitest.NewBlob(ocispec.MediaTypeImageLayer, words(6, 30_000))
	plain.DiffID = plain.Digest
	return ocitest.Index(ocitest.Image(ocitest.AMD64,
		goLayer(words(4, 60_000), 6), strangeLayer(words(7, 300_000)), tornLayer(words(8, 50_000)), wrong, plain))
}
