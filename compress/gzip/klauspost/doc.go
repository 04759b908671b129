// Package klauspost makes the blocks that github.com/klauspost/compress/flate makes, of which the bits of most layers by
// podman, buildah, skopeo, umoci and apko are, and those of programs built with Go 1.27 or later.
//
// An encoder of [New] is that of the flate and gzip packages of that module; one of [NewChunked] is that of
// github.com/klauspost/pgzip, which makes chunks in parallel.
//
// What the encoders give is the same on every machine. The originals before v1.20 are not: where the processor multiplies
// and adds in one step, as on arm64, their estimate of the size of a block is rounded otherwise, so that a block may end
// elsewhere. The encoders here do as the originals do on amd64.
package klauspost
