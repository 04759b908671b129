// Package zlib makes the blocks that zlib and its kin make of plain bytes: zlib itself at any memory level, GNU gzip, busybox
// gzip and pigz, at levels 1 to 9.
//
// All of them descend from one program, the deflate of gzip 1.0, and find the same matches: chains of places with the same
// hash in a window of 64 KiB, of which one half makes room when the other is read through. They differ in the size of the
// hash table, in where a block ends, and in what they see behind the end of the input. A [Variant] says which one it is.
//
// Versions of zlib from 1.2.5.1 on write the same stream, and that is the one of a program that passes on its input in
// large pieces. With small ones zlib can move its window one byte earlier and miss a match of the largest distance there.
// Forks such as zlib-ng and those of Intel and Cloudflare write other streams.
package zlib
