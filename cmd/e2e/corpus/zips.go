package corpus

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip/golang"
	"github.com/ferry-oci/ferry/compress/gzip/klauspost"
	"github.com/ferry-oci/ferry/compress/gzip/zlib"
)

// Zip is a layer, and what a compact bundle makes of it.
type Zip struct {
	Layer
	// Engine is what the program that is found begins with. It is empty for a layer that is in the bundle as it is.
	Engine string
	// Kept is what the reason begins with why a gzip layer is as it is.
	Kept string
}

// Zips builds images of layers that every known program has zipped, with everything in them that a gzip file may have, and
// of layers that are not to be un-gzipped. The programs are those of compress/gzip: that they are equal to what they are
// named for, other tests say.
func Zips(l Layout) ([]Image, []Zip, error) {
	z := &zips{layout: l}
	var images []Image
	for _, step := range []struct {
		repository, comment string
		flavour             Flavour
		add                 func()
	}{
		{"zips/go", "what Docker, BuildKit, containerd, crane and estargz write", Docker, z.addGo},
		{"zips/zlib", "what GNU gzip, busybox, pigz, Java, Python and bsdtar write", OCI, z.addZlib},
		{"zips/klauspost", "what podman, buildah, skopeo, umoci and Go 1.27 write", OCI, z.addKlauspost},
		{"zips/odd", "what a gzip file may have besides", OCI, z.addOdd},
		{"zips/kept", "what is not un-gzipped", OCI, z.addKept},
	} {
		from := len(z.all)
		step.add()
		if z.err != nil {
			return nil, nil, z.err
		}
		image, err := z.image(step.flavour, z.all[from:])
		if err != nil {
			return nil, nil, err
		}
		images = append(images, Image{Repository: step.repository, Tag: "1.0", Comment: step.comment, Root: image})
	}
	return images, z.all, l.WriteIndex(images)
}

type zips struct {
	layout Layout
	all    []Zip
	err    error
}

// image stores an index of an image with the layers of all.
func (z *zips) image(f Flavour, all []Zip) (ocispec.Descriptor, error) {
	var layers []Layer
	for _, zip := range all {
		layers = append(layers, zip.Layer)
	}
	manifest, err := z.layout.Image(f, Platforms()[0], layers, "/none")
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return z.layout.Index(f, manifest)
}

// add stores a layer, whose plain bytes the config of its image tells of.
func (z *zips) add(expected Zip, blob, plain []byte) {
	if z.err != nil {
		return
	}
	expected.Descriptor, z.err = z.layout.Put(OCI.Layer, blob)
	expected.DiffID = digest.FromBytes(plain)
	z.all = append(z.all, expected)
}

// plain returns the tar of a layer of its own, of about so many bytes.
func (z *zips) plain(size int) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	name := fmt.Sprintf("usr/share/%d", len(z.all))
	content := append([]byte(name), words(size/11)...)
	header := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: created, Format: tar.FormatUSTAR}
	err := w.WriteHeader(&header)
	_, writeErr := w.Write(content)
	z.err = errors.Join(z.err, err, writeErr, w.Close())
	return b.Bytes()
}

// noise returns n bytes that do not shrink, the same ones every time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // which does not fail
	return b
}

// newEncoder makes an encoder of one of the programs.
type newEncoder func(emit deflate.Emit) (deflate.Encoder, error)

func goEncoder(level int) newEncoder {
	return func(emit deflate.Emit) (deflate.Encoder, error) { return golang.New(level, emit) }
}

func zlibEncoder(v zlib.Variant, level int) newEncoder {
	return func(emit deflate.Emit) (deflate.Encoder, error) { return zlib.New(v, level, emit) }
}

func (z *zips) addGo() {
	for _, level := range []int{-2, 0, 1, 6, 9} {
		plain := z.plain(60_000)
		z.add(Zip{Engine: fmt.Sprintf("Go level %d", level)}, z.member(goEncoder(level), plainHeader, plain), plain)
	}
	stargz, plain := z.stargz()
	z.add(Zip{Engine: "Go level 9"}, stargz, plain)
}

// stargz returns a blob of many members, each with a flush at its end, and an empty one with a field of its own, as
// estargz has them.
func (z *zips) stargz() (blob, plain []byte) {
	plain = z.plain(100_000)
	for i, at := 0, 0; at < len(plain); i++ {
		next := min(len(plain), at+512*(1+i%7))
		blob = append(blob, z.member(goEncoder(9), bestHeader, plain[at:next], next-at)...)
		at = next
	}
	footer := slices.Concat([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0}, []byte("SG\x16\x000000000000000123STARGZ"))
	return append(blob, z.member(goEncoder(0), footer, nil)...), plain
}

func (z *zips) addZlib() {
	for _, program := range []struct {
		name    string
		variant zlib.Variant
		level   int
		header  []byte
	}{
		{"zlib level 6", zlib.DefaultZlib, 6, plainHeader},
		{"zlib level 9", zlib.DefaultZlib, 9, bestHeader},
		{"zlib level 1", zlib.Variant{Program: zlib.Zlib, Memory: 9}, 1, plainHeader},
		{"GNU gzip level 6", zlib.GNUGzip, 6, unixHeader},
		{"GNU gzip level 1", zlib.GNUGzip, 1, unixHeader},
		{"busybox level 6", zlib.Variant{Program: zlib.BusyBox, Memory: 0}, 6, unixHeader},
		{"pigz level 6", zlib.DefaultPigz, 6, unixHeader},
		{"pigz -i level 6", zlib.SeparatingPigz, 6, unixHeader},
	} {
		plain := z.plain(300_000)
		z.add(Zip{Engine: program.name}, z.member(zlibEncoder(program.variant, program.level), program.header, plain), plain)
	}
}

func (z *zips) addKlauspost() {
	for level := 1; level <= 6; level++ {
		for _, generation := range []klauspost.Generation{klauspost.V1_15, klauspost.V1_18_2} {
			plain := z.plain(60_000)
			encoder := func(emit deflate.Emit) (deflate.Encoder, error) { return klauspost.New(generation, level, emit) }
			z.add(Zip{Engine: fmt.Sprintf("klauspost level %d", level)}, z.member(encoder, plainHeader, plain), plain)
		}
	}
	for _, chunk := range []int{klauspost.DefaultChunk, klauspost.UmociChunk} {
		plain := z.plain(1_200_000)
		encoder := func(emit deflate.Emit) (deflate.Encoder, error) {
			return klauspost.NewChunked(klauspost.V1_15, klauspost.DefaultLevel, chunk, emit)
		}
		z.add(Zip{Engine: "pgzip level 5"}, z.member(encoder, timelessHeader, plain), plain)
	}
}

// addOdd adds what a gzip file may have. Stored blocks are those of noise, and the last block of Go is always empty.
func (z *zips) addOdd() {
	plain := z.plain(100_000)
	z.add(Zip{Engine: "Go level 6"}, z.member(goEncoder(6), plainHeader, plain, 0, 10, 10, 50_000, len(plain)), plain)
	plain = append(z.plain(1000), noise(300_000)...)
	z.add(Zip{Engine: "Go level 6"}, z.member(goEncoder(6), plainHeader, plain), plain)
	plain = z.plain(1000)
	empty := z.member(goEncoder(6), plainHeader, nil)
	z.add(Zip{Engine: "Go level 6"}, slices.Concat(empty, z.member(goEncoder(6), plainHeader, plain), empty), plain)
	plain = z.plain(30_000)
	z.add(Zip{Engine: "zlib level 6"}, append(z.member(zlibEncoder(zlib.DefaultZlib, 6), plainHeader, plain), make([]byte, 10_240)...), plain)
	plain = z.plain(30_000)
	z.add(Zip{Engine: "Go level 6"}, append(z.member(goEncoder(6), plainHeader, plain), "\x00data behind it\x00"...), plain)
	fields := slices.Concat([]byte{0x1f, 0x8b, 8, 4 | 8 | 16 | 2, 1, 2, 3, 4, 2, 3, 4, 0}, []byte("aXbXname\x00comment\x00\x12\x34"))
	plain = z.plain(30_000)
	z.add(Zip{Engine: "Go level 6"}, z.member(goEncoder(6), fields, plain), plain)
	for range 3 { // one that ends with a byte leaves no room for padding
		plain = z.plain(30_000 + len(z.all))
		z.add(Zip{Engine: "zlib level 6"}, z.padded(plain), plain)
	}
	plain = make([]byte, 100<<20) // a sparse file, or a bomb
	z.add(Zip{Kept: "too large"}, z.member(goEncoder(9), bestHeader, plain), plain)
}

func (z *zips) addKept() {
	plain := z.plain(50_000)
	whole := z.member(goEncoder(6), plainHeader, plain)
	z.add(Zip{Engine: "Go level 6"}, whole, plain)
	z.add(Zip{Kept: "same content"}, z.member(goEncoder(1), plainHeader, plain), plain)
	plain = z.plain(50_000)
	z.add(Zip{Kept: "another diff_id"}, z.member(goEncoder(1), plainHeader, plain), []byte("another tar"))
	damaged := slices.Clone(whole)
	damaged[len(damaged)-5] ^= 1
	z.add(Zip{Kept: "damaged gzip"}, damaged, plain)
	z.add(Zip{Kept: "damaged gzip"}, whole[:len(whole)/2], plain)
	z.add(Zip{Kept: "not gzip"}, []byte("this is not what its media type says"), plain)
	z.add(Zip{Kept: "unknown encoder"}, z.literals(plain), plain)
	z.add(Zip{Kept: "empty"}, z.member(goEncoder(6), plainHeader, nil), nil)
	z.addOtherTypes()
}

// addOtherTypes adds layers whose media type is not that of gzip, and one that has places of its own.
func (z *zips) addOtherTypes() {
	encoder, err := zstd.NewWriter(nil)
	z.err = errors.Join(z.err, err)
	if z.err != nil {
		return
	}
	plain := z.plain(50_000)
	z.add(Zip{Layer: Layer{MediaType: ocispec.MediaTypeImageLayerZstd}}, encoder.EncodeAll(plain, nil), plain)
	plain = z.plain(50_000)
	z.add(Zip{Layer: Layer{MediaType: ocispec.MediaTypeImageLayer}}, plain, plain)
	plain = z.plain(50_000)
	z.add(Zip{Layer: Layer{MediaType: ocispec.MediaTypeImageLayerGzip + "+encrypted"}}, noise(50_001), plain)
	plain = z.plain(50_000)
	foreign := Layer{URLs: []string{"https://example.com/layer"}}
	z.add(Zip{Layer: foreign, Kept: "foreign layer"}, z.member(goEncoder(6), plainHeader, plain), plain)
}

// Headers of gzip files: of Go, of a best level, of Unix, and with the zero time that pgzip writes.
var (
	plainHeader    = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	bestHeader     = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff}
	unixHeader     = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}
	timelessHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0x09, 0x6e, 0x88, 0, 0xff}
)

// member returns a gzip member, with flushes after so many plain bytes.
func (z *zips) member(encoder newEncoder, header, plain []byte, flushes ...int) []byte {
	b := bytes.NewBuffer(slices.Clone(header))
	w := deflate.NewWriter(b)
	z.encode(w, encoder, plain, flushes)
	z.err = errors.Join(z.err, w.Close(0))
	return withTrailer(b.Bytes(), plain)
}

// padded returns a member in whose last byte there are ones behind the stream.
func (z *zips) padded(plain []byte) []byte {
	b := bytes.NewBuffer(slices.Clone(plainHeader))
	w := deflate.NewWriter(b)
	z.encode(w, zlibEncoder(zlib.DefaultZlib, 6), plain, nil)
	padding := uint8(0)
	_, n, err := w.Flush()
	if n > 0 {
		padding = 1<<(8-n) - 1
	}
	z.err = errors.Join(z.err, err, w.Close(padding))
	return withTrailer(b.Bytes(), plain)
}

func (z *zips) encode(w *deflate.Writer, encoder newEncoder, plain []byte, flushes []int) {
	e, err := encoder(w.WriteBlock)
	if err != nil {
		z.err = errors.Join(z.err, err)
		return
	}
	at := 0
	for _, next := range flushes {
		z.err = errors.Join(z.err, e.Write(plain[at:next]), e.Flush())
		at = next
	}
	z.err = errors.Join(z.err, e.Write(plain[at:]), e.Close())
}

// literals returns a member without matches in many small blocks, as no program makes it.
func (z *zips) literals(plain []byte) []byte {
	b := bytes.NewBuffer(slices.Clone(plainHeader))
	w := deflate.NewWriter(b)
	for at := 0; at < len(plain); {
		block := deflate.Block{Kind: deflate.Fixed}
		for range min(777, len(plain)-at) {
			block.Tokens = append(block.Tokens, deflate.Literal(plain[at]))
			at++
		}
		block.Final = at == len(plain)
		z.err = errors.Join(z.err, w.WriteBlock(&block))
	}
	z.err = errors.Join(z.err, w.Close(0))
	return withTrailer(b.Bytes(), plain)
}

func withTrailer(member, plain []byte) []byte {
	member = binary.LittleEndian.AppendUint32(member, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(member, uint32(len(plain)))
}
