// Package zstdlong writes zstd frames (RFC 8878) of content in which what repeats is far apart: the plain layers of
// images, one after the other, with a window of 128 MiB.
//
// It tries hard, at some 15 MB a second, and finds two kinds of matches: near ones by tables of the hashes of each
// position, and far ones by hashes of 64 bytes at places which the content chooses, so that a small table reaches back over
// the whole window. The frames have their content size and a checksum, and any decoder reads them that takes their window.
//
// The bytes written depend on the content and the options alone.
package zstdlong
