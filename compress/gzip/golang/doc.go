// Package golang makes the blocks that Go's compress/flate makes of plain bytes, as of Go 1.8 to 1.26.
//
// Those versions write the same stream at every level; Go 1.27 has another encoder. Most layers in registries were
// written by them: docker push, BuildKit and containerd take level 6, crane, ko and kaniko level 1, estargz level 9.
//
// What comes of plain bytes is the same on every machine and with every version of Go. It is the stream of one call of
// Write between flushes. The size of its writes makes a difference to compress/flate in one case: the window slides a byte
// earlier when a write ends within the 262 bytes before the first 64 KiB or any further 32 KiB, and the token before ends
// 262 bytes before them, so that one place is kept from the matches of more than 32,506 bytes back. In a test of nothing
// but far matches that was one stream in sixty.
package golang
