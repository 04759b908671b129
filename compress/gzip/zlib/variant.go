package zlib

import (
	"fmt"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// Program is a program whose streams an encoder makes.
type Program uint8

const (
	// Zlib is the library. A flush is its Z_SYNC_FLUSH.
	Zlib Program = iota
	// GNU is GNU gzip as of 1.12. Levels 3 to 9 end a block early when that seems to pay. It has no flush.
	GNU
	// BusyBox is the gzip of busybox, which knows levels 4 to 9 and takes 4 for lower ones. It ends blocks as GNU gzip, and
	// has no flush.
	BusyBox
	// Pigz is pigz with more than one thread: each chunk of the input is a stream of zlib, which has the bytes before as
	// its dictionary and ends on a whole byte. A flush ends a chunk.
	Pigz
)

// Variant is a program with what it was built or called with. Fields that a program does not have do not count.
type Variant struct {
	Program Program
	// Memory is the size of hash table and blocks: for Zlib its memLevel, 1 to 9, and 8 is the default; for BusyBox its
	// CONFIG_GZIP_FAST, 0 to 2. The official busybox images were packed with 0, Alpine's root file systems with 2.
	Memory int
	// Chunk is how many bytes of input Pigz gives to a thread, at least 32 KiB; 0 is its default of 128 KiB.
	Chunk int
	// Independent is pigz -i: chunks have no dictionary.
	Independent bool
}

// DefaultChunk is how many bytes pigz gives to a thread unless told otherwise.
const DefaultChunk = 128 << 10

// Variants that are known to have made layers.
var (
	DefaultZlib    = Variant{Program: Zlib, Memory: 8} // bsdtar, Java, Python
	LargeZlib      = Variant{Program: Zlib, Memory: 9}
	GNUGzip        = Variant{Program: GNU}
	SmallBusyBox   = Variant{Program: BusyBox, Memory: 0}
	MediumBusyBox  = Variant{Program: BusyBox, Memory: 1}
	LargeBusyBox   = Variant{Program: BusyBox, Memory: 2}
	DefaultPigz    = Variant{Program: Pigz, Chunk: DefaultChunk}
	SeparatingPigz = Variant{Program: Pigz, Chunk: DefaultChunk, Independent: true} // pigz -i
)

// effort says how long to look for a match.
type effort struct {
	good    int // with a match of so many bytes at the place before, only a quarter of the chain is looked at
	maxLazy int // with one of so many there is no search; without lazy search: of longer matches only the begin is in chains
	nice    int // a match of so many bytes ends the search
	chain   int // places that are looked at
}

var efforts = [...]effort{
	1: {4, 4, 8, 4},
	2: {4, 5, 16, 8},
	3: {4, 6, 32, 32},
	4: {4, 4, 16, 16},
	5: {8, 16, 32, 32},
	6: {8, 16, 128, 128},
	7: {8, 32, 128, 256},
	8: {32, 128, 258, 1024},
	9: {32, 258, 258, 4096},
}

// firstLazy is the first level that looks whether the next byte begins a longer match.
const firstLazy = 4

// Resumer is an encoder that can go on in the midst of a stream. Those of levels 4 to 9 are, but for Pigz: it begins anew
// at each chunk, where Reset does.
type Resumer interface {
	deflate.Encoder
	// ResetAt is Reset, with dict before the byte at position of the stream: where the window moves depends on it. Position
	// 0 is a stream of its own, whatever dict is.
	//
	// What follows equals that of one long stream when a block ends at position with a match, and the stream was not
	// flushed before.
	ResetAt(position int64, dict []byte)
}

// New returns the encoder of a variant at a level, 1 to 9. It gives its blocks to emit.
//
// Reset with dict does what deflateSetDictionary of zlib does. At levels 1 to 3 that is not what stands behind a long
// stream that ends with dict, as these levels leave places out of their chains.
func New(v Variant, level int, emit deflate.Emit) (deflate.Encoder, error) {
	if level < 1 || level >= len(efforts) {
		return nil, fmt.Errorf("level %d of the zlib family, want 1 to %d", level, len(efforts)-1)
	}
	hashBits, tokens := 0, 0
	switch {
	case v.Program == Zlib && v.Memory >= 1 && v.Memory <= 9:
		hashBits, tokens = v.Memory+7, 1<<(v.Memory+6)
	case v.Program == Pigz && (v.Chunk == 0 || v.Chunk >= deflate.WindowSize):
		hashBits, tokens = 15, 1<<14
	case v.Program == GNU:
		hashBits, tokens = 15, 1<<15
	case v.Program == BusyBox && v.Memory >= 0 && v.Memory <= 2:
		hashBits, tokens = v.Memory+13, 1<<(v.Memory+13)
		level = max(level, firstLazy)
	default:
		return nil, fmt.Errorf("no program of the zlib family is %+v", v)
	}
	e := newEncoder(v.Program, level, hashBits, tokens, emit)
	switch {
	case v.Program == Pigz:
		return newChunked(e, v), nil
	case level < firstLazy:
		return e, nil
	}
	return &resumer{e}, nil
}
