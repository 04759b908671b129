package compress

import "fmt"

// A FrameEntry is what the table of a file says of one of its frames, and where that ends.
type FrameEntry struct {
	End   int64  // file offset behind the frame
	Size  int64  // bytes in the file: of an xz block without its padding, of a zstd frame without the stamp before it
	Plain int64  // bytes
	Sum   uint32 // of a zstd frame: low 32 bits of XXH64 of the plain bytes; else 0
}

// resume makes the Writer one that has written these frames.
func (w *Writer) resume(entries []FrameEntry) error {
	if len(entries) > MaxFrames {
		return errTooManyFrames
	}
	for n, e := range entries {
		if e.Plain < 1 || e.Plain > MaxLongFrame || e.Size < 1 || e.Size > maxEncoded(e.Plain) {
			return fmt.Errorf("resume: frame %d cannot be of %d bytes with %d plain bytes", n, e.Size, e.Plain)
		}
		if n == 0 {
			w.end += int64(len(w.trailer.start()))
		}
		w.end += int64(len(w.trailer.lead(nil, n, w.offset, w.o.ContentID))) + e.Size
		if w.o.Format == XZ {
			w.end += xzPad(e.Size)
		}
		if e.End != w.end {
			return fmt.Errorf("resume: frame %d ends at byte %d of the file, want %d", n, e.End, w.end)
		}
		w.trailer.addSizes(e.Size, e.Plain, e.Sum)
		w.offset += e.Plain
	}
	w.number = len(entries)
	w.written.Store(w.offset)
	return nil
}

// frameDone takes note of a frame that is in the file.
func (w *Writer) frameDone(e FrameEntry) error {
	e.End = w.end
	if w.o.OnFrame != nil {
		if err := w.o.OnFrame(e); err != nil {
			return err
		}
	}
	w.written.Add(e.Plain)
	return nil
}
