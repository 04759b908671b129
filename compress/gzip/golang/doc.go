// Package golang makes the blocks that Go's compress/flate makes of plain bytes, as of Go 1.8 to 1.26.
//
// Those versions write the same stream at every level; Go 1.27 has another encoder. Most layers in registries were
// written by them: docker push, BuildKit and containerd take level 6, crane, ko and kaniko level 1, estargz level 9.
//
// What comes of plain bytes is the same on every machine and with every version of Go. It is the stream of one call of
// Write between flushes. compress/flate itself gives the same for all sizes of its writes but one: a write that ends
// 65,535 bytes, or that and a multiple of 32,768, after the begin of the stream can keep it from matches of the largest
// distances at one position.
package golang
