package gzip

import (
	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip/golang"
	"github.com/ferry-oci/ferry/compress/gzip/klauspost"
	"github.com/ferry-oci/ferry/compress/gzip/zlib"
)

const (
	minChunk = deflate.WindowSize
	maxChunk = 64 << 20
	never    = 100 // a level that there is not
)

// programs has the engines that this program has.
var programs = map[EngineID]program{
	Golang: {
		name: "Go", levels: [2]int{-2, 9}, flushes: true, resumes: 4,
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) { return golang.New(e.Level, emit) },
	},
	Zlib: {
		name: "zlib", levels: [2]int{1, 9}, variants: [2]int{1, 9}, flushes: true, resumes: 4, short: true,
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) {
			return zlib.New(zlib.Variant{Program: zlib.Zlib, Memory: e.Variant}, e.Level, emit)
		},
	},
	GNU: {
		name: "GNU gzip", levels: [2]int{1, 9}, resumes: 4, short: true, unix: true,
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) {
			return zlib.New(zlib.GNUGzip, e.Level, emit)
		},
		twins: [2]Engine{{ID: GNU}, {ID: BusyBox, Variant: 2}},
		newTwins: func(e Engine, emit [2]deflate.Emit) (deflate.Encoder, error) {
			return zlib.NewTwins(e.Level, emit)
		},
	},
	BusyBox: {
		name: "busybox", levels: [2]int{4, 9}, variants: [2]int{0, 2}, resumes: 4, short: true, unix: true,
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) {
			return zlib.New(zlib.Variant{Program: zlib.BusyBox, Memory: e.Variant}, e.Level, emit)
		},
	},
	Pigz:  pigz("pigz", false),
	PigzI: pigz("pigz -i", true),
	Klaus: {
		name: "klauspost", levels: [2]int{1, 6}, variants: [2]int{1, 4}, flushes: true, resumes: never,
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) {
			return klauspost.New(klauspost.Generation(e.Variant), e.Level, emit)
		},
		twins: [2]Engine{{ID: Klaus, Variant: int(klauspost.V1_18_1)}, {ID: Klaus, Variant: int(klauspost.V1_18_2)}},
		newTwins: func(e Engine, emit [2]deflate.Emit) (deflate.Encoder, error) {
			return klauspost.NewTwins(e.Level, 0, emit)
		},
	},
	Pgzip: {
		name: "pgzip", levels: [2]int{1, 6}, variants: [2]int{1, 4}, resumes: never,
		chunks: [2]int{minChunk, maxChunk}, common: []int{klauspost.DefaultChunk, klauspost.UmociChunk},
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) {
			return klauspost.NewChunked(klauspost.Generation(e.Variant), e.Level, e.Chunk, emit)
		},
		twins: [2]Engine{{ID: Pgzip, Variant: int(klauspost.V1_18_1)}, {ID: Pgzip, Variant: int(klauspost.V1_18_2)}},
		newTwins: func(e Engine, emit [2]deflate.Emit) (deflate.Encoder, error) {
			return klauspost.NewTwins(e.Level, e.Chunk, emit)
		},
	},
}

// repeats reports whether e does what another engine does that is tried as well: v1.18.0 of klauspost/compress differs from
// those before at level 4 only.
func (e Engine) repeats() bool {
	return (e.ID == Klaus || e.ID == Pgzip) && klauspost.Generation(e.Variant) == klauspost.V1_18_0 && e.Level != 4
}

func pigz(name string, independent bool) program {
	return program{
		name: name, levels: [2]int{1, 9}, resumes: never, short: true, unix: true,
		chunks: [2]int{minChunk, maxChunk}, common: []int{zlib.DefaultChunk},
		new: func(e Engine, emit deflate.Emit) (deflate.Encoder, error) {
			return zlib.New(zlib.Variant{Program: zlib.Pigz, Chunk: e.Chunk, Independent: independent}, e.Level, emit)
		},
	}
}
