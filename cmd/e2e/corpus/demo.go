package corpus

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Platforms are the platforms of the demo's images.
func Platforms() []ocispec.Platform {
	return []ocispec.Platform{
		{OS: "linux", Architecture: "amd64"},
		{OS: "linux", Architecture: "arm64", Variant: "v8"},
		{OS: "linux", Architecture: "s390x"},
	}
}

// Demo builds a handful of images that have what the images of a Kubernetes platform have: Docker manifest lists and
// OCI indexes, an attestation, an image of one platform only, one that is pinned by digest, a name of one segment and
// one of three, and a base layer that several share. It takes the Go toolchain and a working directory in this module.
func Demo(ctx context.Context, l Layout) ([]Image, error) {
	b := &demo{layout: l, platforms: Platforms()}
	if err := b.compile(ctx); err != nil {
		return nil, err
	}
	var images []Image
	for _, build := range []func() (Image, error){b.pause, b.tools, b.webapp, b.attacher, b.migrate, b.legacy, b.pinned} {
		image, err := build()
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, l.WriteIndex(images)
}

// demo holds what the images of the demo are made of.
type demo struct {
	layout    Layout
	platforms []ocispec.Platform
	programs  []map[string][]byte // by platform
	base      []Layer             // by platform
	common    Layer               // the same for all platforms
}

// compile builds the programs of all platforms and the layers that several images share.
func (b *demo) compile(ctx context.Context) error {
	b.programs = make([]map[string][]byte, len(b.platforms))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range b.platforms {
		group.Go(func() (err error) {
			b.programs[i], err = compile(ctx, p, "pause", "tools", "webapp", "attacher")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range b.platforms {
		base, err := b.layout.Layer("base",
			File{Name: "etc/os-release", Mode: 0o644, Content: []byte("ID=ferrybase\nVERSION_ID=\"1\"\n")},
			File{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")},
			File{Name: "usr/bin/tools", Mode: 0o755, Content: b.programs[i]["tools"]},
		)
		if err != nil {
			return err
		}
		b.base = append(b.base, base)
	}
	var err error
	b.common, err = b.layout.Layer("words", File{Name: "usr/share/dict/words", Mode: 0o644, Content: words(200_000)})
	return err
}

// words returns n lines of text that is worth compressing and the same on every machine.
func words(n int) []byte {
	var text []byte
	state := uint32(1)
	for range n {
		state = state*1664525 + 1013904223
		text = fmt.Appendf(text, "word-%05x\n", state>>12)
	}
	return text
}

// program makes a layer with one of the programs.
func (b *demo) program(platform int, name string) (Layer, error) {
	return b.layout.Layer(name, File{Name: "usr/local/bin/" + name, Mode: 0o755, Content: b.programs[platform][name]})
}

// settings makes a small layer with a file of settings.
func (b *demo) settings(name, text string) (Layer, error) {
	return b.layout.Layer(name+" settings", File{Name: "etc/" + name + ".conf", Mode: 0o644, Content: []byte(text)})
}

// manifests makes an image of base, common layer, program and settings for each platform.
func (b *demo) manifests(f Flavour, name, settings string) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	for i, p := range b.platforms {
		program, err := b.program(i, name)
		if err != nil {
			return nil, err
		}
		conf, err := b.settings(name, settings)
		if err != nil {
			return nil, err
		}
		d, err := b.layout.Image(f, p, []Layer{b.base[i], b.common, program, conf}, "/usr/local/bin/"+name)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (b *demo) pause() (Image, error) {
	image := Image{Repository: "pause", Tag: "3.9", Comment: "a name of one segment; an OCI index"}
	var all []ocispec.Descriptor
	for i, p := range b.platforms {
		program, err := b.program(i, "pause")
		if err != nil {
			return image, err
		}
		d, err := b.layout.Image(OCI, p, []Layer{program}, "/usr/local/bin/pause")
		if err != nil {
			return image, err
		}
		all = append(all, d)
	}
	var err error
	image.Root, err = b.layout.Index(OCI, all...)
	return image, err
}

func (b *demo) tools() (Image, error) {
	image := Image{Repository: "library/tools", Tag: "1.36", Comment: "a Docker manifest list"}
	var all []ocispec.Descriptor
	for i, p := range b.platforms {
		d, err := b.layout.Image(Docker, p, []Layer{b.base[i], b.common}, "/usr/bin/tools")
		if err != nil {
			return image, err
		}
		all = append(all, d)
	}
	var err error
	image.Root, err = b.layout.Index(Docker, all...)
	return image, err
}

func (b *demo) webapp() (Image, error) {
	image := Image{
		Repository: "team/webapp", Tag: "v1.2.3",
		Comment: "an OCI index with attestations, as buildx makes it",
	}
	all, err := b.manifests(OCI, "webapp", "greeting = hello\n")
	if err != nil {
		return image, err
	}
	for _, subject := range all[:len(b.platforms)] {
		d, err := b.layout.Attestation(subject)
		if err != nil {
			return image, err
		}
		all = append(all, d)
	}
	image.Root, err = b.layout.Index(OCI, all...)
	return image, err
}

func (b *demo) attacher() (Image, error) {
	image := Image{
		Repository: "sig-storage/csi/attacher", Tag: "v4.5.0",
		Comment: "nested three deep; a Docker manifest list",
	}
	all, err := b.manifests(Docker, "attacher", "timeout = 15s\n")
	if err != nil {
		return image, err
	}
	image.Root, err = b.layout.Index(Docker, all...)
	return image, err
}

func (b *demo) migrate() (Image, error) {
	return b.single(OCI, Image{
		Repository: "team/migrate", Tag: "2.0",
		Comment: "one platform only: an OCI manifest, no index",
	})
}

func (b *demo) legacy() (Image, error) {
	return b.single(Docker, Image{
		Repository: "library/legacy", Tag: "0.9",
		Comment: "one platform only: a Docker manifest",
	})
}

// single makes an image of one platform, whose name stands for a manifest.
func (b *demo) single(f Flavour, image Image) (Image, error) {
	conf, err := b.settings("migrate", "from = 1\nto = 2\n")
	if err != nil {
		return image, err
	}
	image.Root, err = b.layout.Image(f, b.platforms[0], []Layer{b.base[0], conf}, "/usr/bin/tools", "cat")
	return image, err
}

func (b *demo) pinned() (Image, error) {
	image := Image{Repository: "team/webapp-canary", Tag: "canary", Pinned: true, Comment: "pinned by digest"}
	all, err := b.manifests(OCI, "webapp", "greeting = good morning\n")
	if err != nil {
		return image, err
	}
	image.Root, err = b.layout.Index(OCI, all...)
	return image, err
}
