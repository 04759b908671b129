package compress

// A trailer knows what stands around the frames of a file: before the first, between them, and the table at the end.
// Writer writes what it says and Scanner expects it to the byte.
type trailer interface {
	// start returns what the file begins with.
	start() []byte
	// lead appends what stands before frame n.
	lead(dst []byte, n int, plainOffset int64, id [32]byte) []byte
	// add takes the next frame into the table, and returns what addSizes would have been given.
	add(frame []byte, plain int64) (size int64, sum uint32)
	// addSizes does the same for a frame that is not in memory: its size in the file, without the padding of an xz
	// block, its plain bytes and, for zstd, its checksum.
	addSizes(size, plain int64, sum uint32)
	// finish returns what stands after the last frame.
	finish() []byte
}

// newTrailer returns an empty trailer of a file of format f, whose checks are of that type if it is XZ.
func newTrailer(f Format, check byte) trailer {
	switch f {
	case Zstd:
		return &seekTable{}
	case XZ:
		return &xzIndex{check: check}
	}
	return noTrailer{}
}

// noTrailer is that of a plain file.
type noTrailer struct{}

func (noTrailer) start() []byte                                      { return nil }
func (noTrailer) lead(dst []byte, _ int, _ int64, _ [32]byte) []byte { return dst }
func (noTrailer) add(frame []byte, _ int64) (int64, uint32)          { return int64(len(frame)), 0 }
func (noTrailer) addSizes(_, _ int64, _ uint32)                      {}
func (noTrailer) finish() []byte                                     { return nil }
