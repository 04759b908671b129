// Package deflate takes streams of RFC 1951 apart into what their encoder chose, and puts them together again, bit for
// bit.
//
// An encoder of deflate makes three choices: where a block ends and of which kind it is, into which literals and matches
// the bytes of it are divided, and how the code lengths of a dynamic block are written. A [Block] has all three. A stream
// is a row of blocks, so a [Reader] turns the bits of a stream into blocks and the plain bytes that they stand for, and a
// [Writer] turns blocks into the same bits:
//
//	bits -> Reader -> blocks -> Writer -> the same bits
//
// holds for every valid stream. What cannot be said by blocks, such as bits of padding that are not zero, has its own
// field; nothing is dropped.
//
// An [Encoder] is the third part: it gives the blocks that a certain program would make of plain bytes. When the blocks of
// an encoder equal those that were read, the plain bytes and the name of the encoder say as much as the stream. The
// encoders themselves are in packages of their own.
package deflate
