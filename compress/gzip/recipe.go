package gzip

import "crypto/sha256"

// Limits of a recipe.
const (
	MaxRecipe  = 4 << 20   // bytes of an encoded recipe
	MaxHeader  = 128 << 10 // bytes of the header of a member
	MaxMembers = 1 << 18
	MaxRatio   = 1100 // plain bytes for each byte of the blob; deflate cannot have more than 1,032

	maxHeaders = 1 << 16
	maxEngines = 1 << 8
	maxFlushes = 1 << 18 // of all members
	maxChanges = 1 << 7  // members with another engine than the one before

	// checkpointGap is how many plain bytes there are at least before and between checkpoints.
	checkpointGap = 256 << 10
)

// Recipe says how a blob comes of its plain bytes. It is made by [Find] or [Decode], and not changed afterwards.
type Recipe struct {
	Size        int64             // of the blob, in bytes
	Digest      [sha256.Size]byte // of the blob
	PlainSize   int64
	PlainDigest [sha256.Size]byte

	Headers [][]byte // of members, each once
	Engines []Engine // each once
	Members []Member
	Zeros   int64  // how many zero bytes follow the last member
	Rest    []byte // what follows these
}

// Member is a member of a blob, as RFC 1952 calls it.
type Member struct {
	Header  int   // in Recipe.Headers
	Engine  int   // in Recipe.Engines
	Padding uint8 // bits behind the stream in its last byte
	Size    int64 // plain bytes

	Stream      []byte  // of the engine Verbatim: the deflate stream
	Flushes     []int64 // plain bytes of the member before each flush, in order
	Checkpoints []Checkpoint
}

// Checkpoint is a begin of a block from which the stream can be re-created.
type Checkpoint struct {
	Plain  int64 // plain bytes of the member before it
	Blocks int64 // blocks since the checkpoint before, or since the begin of the member
	Bits   uint8 // of the byte before it that is not whole, 0 to 7
}
