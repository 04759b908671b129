package compress

import (
	"fmt"
	"io"
	"sort"
)

// Limits on what a file may claim. They bound memory, not the size of a file: at 4 MiB a frame, MaxFrames are 16 TiB.
const (
	// MaxFrames is the largest number of frames in a file.
	MaxFrames = 1 << 22
	// MaxFramePlain is the largest number of plain bytes in a frame that is decoded in memory. Frames of more are long.
	MaxFramePlain = 16 << 20
	// MaxLongFrame is the largest number of plain bytes in a frame. Long frames are read as a stream.
	MaxLongFrame = 512 << 20
	// MaxWindow is the largest window of a zstd frame: what `zstd -d` takes without options.
	MaxWindow = 128 << 20
	// maxDictionary is the largest dictionary of an xz block.
	maxDictionary = 64 << 20
	// noneFrameSize is the size of the pieces that stand for frames in a plain file.
	noneFrameSize = 4 << 20
)

// maxEncoded returns how many bytes a frame of plain bytes may take in a file. Stored frames take fewer; what takes
// more was made to cost memory.
func maxEncoded(plain int64) int64 { return plain + plain>>7 + 1024 }

// Frame is the place of one frame in the file and in the plain stream.
type Frame struct {
	Number      int   // from 0
	Offset      int64 // of its first byte in the file
	Size        int64 // in the file
	Lead        int64 // bytes of the file right before Offset that belong to no other frame, see Table.CheckLead
	PlainOffset int64
	PlainSize   int64
	Sum         uint32 // low 32 bits of XXH64 of the plain bytes; unknown, and 0, for XZ and None
	check       byte   // check type of the xz stream
}

// Long reports whether the frame has too many plain bytes to be decoded in memory, so that it is read as a stream.
func (f Frame) Long() bool { return isLong(f.PlainSize) }

func isLong(plain int64) bool { return plain > longFrom }

// longFrom is MaxFramePlain, but in tests.
var longFrom int64 = MaxFramePlain

// plainEnd returns the plain offset after the frame.
func (f Frame) plainEnd() int64 { return f.PlainOffset + f.PlainSize }

// end returns the file offset after the frame.
func (f Frame) end() int64 { return f.Offset + f.Size }

// Table is where the frames of a file are. Tables of whole files have no gaps: frame n ends where the lead of frame
// n+1 begins, in the file and in the plain stream. A table made by ScanTable may lack frames.
type Table struct {
	Format    Format
	Frames    []Frame
	FileSize  int64
	PlainSize int64
}

// Find returns the position in Frames of the frame with the plain byte at off or, where that is missing, of the last
// frame before it. It returns 0 where there is none.
func (t *Table) Find(off int64) int {
	after := sort.Search(len(t.Frames), func(i int) bool { return t.Frames[i].PlainOffset > off })
	return max(0, after-1)
}

// frameAt returns the frame with the plain byte at off.
func (t *Table) frameAt(off int64) (Frame, error) {
	if len(t.Frames) > 0 {
		if f := t.Frames[t.Find(off)]; off >= f.PlainOffset && off < f.plainEnd() {
			return f, nil
		}
	}
	return Frame{}, &FrameError{
		Number: -1, PlainOffset: off,
		Reason: fmt.Sprintf("the frame with plain byte %d is missing", off),
	}
}

// end returns the file offset after the last frame, where the table begins.
func (t *Table) end() int64 {
	if len(t.Frames) > 0 {
		return t.Frames[len(t.Frames)-1].end()
	}
	if t.Format == XZ {
		return xzHeaderSize
	}
	return 0
}

// ReadTable reads the table at the end of the file that r holds in size bytes. All that the table says is proved to
// fit the file to the byte; the frames themselves are not read. Errors: ErrFormat, ErrCorrupt as a *FrameError.
func ReadTable(r io.ReaderAt, size int64) (*Table, error) {
	format, err := Detect(r, size)
	if err != nil {
		return nil, err
	}
	switch format {
	case Zstd:
		return readSeekTable(r, size)
	case XZ:
		return readXZIndex(r, size)
	default:
		return plainTable(size)
	}
}

// plainTable returns the table of a file without compression.
func plainTable(size int64) (*Table, error) {
	if size > MaxFrames*noneFrameSize {
		return nil, tableError(0, "%d bytes are more than %d frames", size, MaxFrames)
	}
	t := &Table{Format: None, FileSize: size, PlainSize: size}
	for off := int64(0); off < size; off += noneFrameSize {
		t.Frames = append(t.Frames, plainFrame(len(t.Frames), off, min(noneFrameSize, size-off)))
	}
	return t, nil
}

// plainFrame returns frame n of a file without compression.
func plainFrame(n int, off, size int64) Frame {
	return Frame{Number: n, Offset: off, Size: size, PlainOffset: off, PlainSize: size}
}

// CheckLead proves the bytes before frame f: the stamp of a zstd frame, the header of an xz stream. For a stamp it
// returns the content id in it, which is for the caller to compare; else the zero id. Errors: ErrCorrupt.
func (t *Table) CheckLead(f Frame, lead []byte) (id [32]byte, err error) {
	if int64(len(lead)) != f.Lead {
		return id, f.corrupt("%d bytes before it, want %d", len(lead), f.Lead)
	}
	switch {
	case f.Lead == 0:
		return id, nil
	case t.Format == XZ:
		check, err := parseXZHeader(lead)
		if err == nil && check != f.check {
			err = fmt.Errorf("check type %d, want %d", check, f.check)
		}
		if err != nil {
			return id, f.corrupt("header of the stream: %v", err)
		}
		return id, nil
	}
	s, err := parseStamp(lead)
	if err == nil {
		err = s.matches(f.Number, f.PlainOffset)
	}
	if err != nil {
		return id, f.corrupt("its stamp: %v", err)
	}
	return s.id, nil
}
