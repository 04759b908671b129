// Package compress turns a plain stream, such as a tar, into a file of independent frames and back, exactly and within
// a stated memory limit.
//
// [NewWriter] cuts the stream into frames, encodes them in parallel and writes them in order, with a table of all
// frames at the end. A frame is either compressed, or stored when its content is compressed already: a stored frame
// costs a copy and a checksum. A long frame ([Writer.WriteLong]) is one of its own with a window of up to 128 MiB, for
// content that repeats far back; several are encoded at a time, and none is held in memory. The bytes written depend on the input, the cuts and the options, never on the number
// of processors.
//
// [ReadTable] finds the frames of a file from its end, and [NewReader] gives any range of plain bytes from them.
// [NewScanner] reads the frames in order from a pipe. [ScanTable] finds what is left of a damaged file, and [Check]
// proves a whole one. [Decoder] turns one frame back into plain bytes.
//
// A frame of more than [MaxFramePlain] plain bytes is long. It is never held in memory: all who read give its plain
// bytes as a stream.
//
// Three formats carry the frames; FRAMES.md tells them byte by byte:
//
//   - [Zstd]: zstd frames, a small skippable frame (a stamp) before each but the first, and the seek table of the
//     zstd seekable format. `zstd -d` reads it.
//   - [XZ]: one xz stream of many blocks with their sizes in the block headers. `xz -d` reads it.
//   - [None]: the plain bytes; frames are pieces of 4 MiB in name only.
//
// Input is hostile: each number that a file states is checked against a limit and against the size of the file before
// it becomes an allocation or an offset. What is wrong with a file comes back as a [*FrameError], for which
// errors.Is(err, ErrCorrupt) holds.
package compress
