package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

// small is a stream whose file is small enough to be damaged in every byte.
func small() []part {
	return []part{{false, text(1, 1500)}, {true, random(1, 300)}, {false, text(2, 200)}}
}

// smallFiles are files of small in each format with a table.
func smallFiles(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range []Format{Zstd, XZ} {
		o := WriterOptions{Format: f, FrameSize: MinFrameSize, ContentID: [32]byte{1, 2, 3}}
		files[f.String()] = write(t, o, small())
	}
	return files
}

// readAll reads file in every way there is and says in which of them nothing was found wrong.
func readAll(file []byte, f Format) map[string][]byte {
	whole := map[string][]byte{}
	o := ReaderOptions{Jobs: 1}
	if plain, err := scanAll(file, f, o); err == nil {
		whole["scanner"] = plain
	}
	r := bytes.NewReader(file)
	table, err := ReadTable(r, int64(len(file)))
	if err != nil {
		return whole
	}
	plain, err := readRange(NewReader(r, table, o), 0, table.PlainSize)
	if err == nil {
		whole["reader"] = plain
	}
	if bad, err := Check(context.Background(), r, table, o); err == nil && len(bad) == 0 {
		whole["check"] = plain
	}
	return whole
}

func TestEachByteFlippedIsReportedOrHarmless(t *testing.T) { testEachByteFlipped(t) }

func TestEachByteOfLongFramesFlippedIsReportedOrHarmless(t *testing.T) {
	lowerLong(t, 500)
	testEachByteFlipped(t)
}

func testEachByteFlipped(t *testing.T) {
	want := plainOf(small())
	for name, file := range smallFiles(t) {
		t.Run(name, func(t *testing.T) {
			table := readTable(t, file)
			inFrame := func(off int) bool {
				return slices.ContainsFunc(table.Frames, func(f Frame) bool {
					return int64(off) >= f.Offset && int64(off) < f.end()
				})
			}
			for off := range file {
				for _, flip := range []byte{0x01, 0xFF} {
					hurt := bytes.Clone(file)
					hurt[off] ^= flip
					for how, got := range readAll(hurt, table.Format) {
						if !bytes.Equal(got, want) {
							t.Errorf("byte %d ^ %#x: the %s gives other bytes and reports nothing", off, flip, how)
						}
						if how != "reader" && !inFrame(off) {
							t.Errorf("byte %d ^ %#x lies between the frames, and the %s reports nothing", off, flip, how)
						}
					}
				}
			}
		})
	}
}

func TestEachTruncationIsReported(t *testing.T) { testEachTruncation(t) }

func TestEachTruncationOfLongFramesIsReported(t *testing.T) {
	lowerLong(t, 500)
	testEachTruncation(t)
}

func testEachTruncation(t *testing.T) {
	for name, file := range smallFiles(t) {
		t.Run(name, func(t *testing.T) {
			format := readTable(t, file).Format
			for n := range file {
				if _, err := ReadTable(bytes.NewReader(file[:n]), int64(n)); err == nil {
					t.Errorf("%d of %d bytes: ReadTable reports nothing", n, len(file))
				}
				_, err := scanAll(file[:n], format, ReaderOptions{})
				if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrCorrupt) {
					t.Errorf("%d of %d bytes: Scanner: %v, want %v", n, len(file), err, io.ErrUnexpectedEOF)
				}
			}
		})
	}
}

func TestBytesAfterTheEndAreReported(t *testing.T) {
	for name, file := range smallFiles(t) {
		t.Run(name, func(t *testing.T) {
			format := readTable(t, file).Format
			for tail, extra := range map[string][]byte{"zeros": make([]byte, 4), "a second file": file} {
				longer := slices.Concat(file, extra)
				if _, err := ReadTable(bytes.NewReader(longer), int64(len(longer))); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: ReadTable: %v, want %v", tail, err, ErrCorrupt)
				}
				if _, err := scanAll(longer, format, ReaderOptions{}); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: Scanner: %v, want %v", tail, err, ErrCorrupt)
				}
			}
		})
	}
}

func TestScannerRefusesAnotherContentID(t *testing.T) {
	o := WriterOptions{Format: Zstd, FrameSize: MinFrameSize, ContentID: [32]byte{1}}
	a := write(t, o, small())
	o.ContentID[0] = 2
	b := write(t, o, small())
	// A volume of another bundle: same sizes, so that table and places agree.
	last := readTable(t, a).Frames[2]
	mixed := slices.Concat(a[:last.Offset-last.Lead], b[last.Offset-last.Lead:])
	if _, err := scanAll(mixed, Zstd, ReaderOptions{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Scanner: %v, want %v", err, ErrCorrupt)
	}
	bad, err := Check(context.Background(), bytes.NewReader(mixed), readTable(t, mixed), ReaderOptions{})
	if err != nil || len(bad) != 2 && len(bad) != 1 || bad[0].Number != 2 {
		t.Errorf("Check: %v, %v", bad, err)
	}
}

// brokenDisk is a file with a range that cannot be read.
type brokenDisk struct {
	io.ReaderAt
	from, to int64
}

var errDisk = errors.New("input/output error")

func (d brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < d.to && off+int64(len(p)) > d.from {
		return 0, errDisk
	}
	return d.ReaderAt.ReadAt(p, off)
}

func TestReadErrorsAreThoseOfTheDisk(t *testing.T) { testReadErrors(t) }

func TestReadErrorsInLongFramesAreThoseOfTheDisk(t *testing.T) {
	lowerLong(t, 500)
	testReadErrors(t)
}

func testReadErrors(t *testing.T) {
	for name, file := range smallFiles(t) {
		t.Run(name, func(t *testing.T) {
			table := readTable(t, file)
			for _, f := range table.Frames {
				disk := brokenDisk{bytes.NewReader(file), f.Offset + f.Size/2, f.Offset + f.Size/2 + 1}
				r := NewReader(disk, table, ReaderOptions{})
				_, err := readRange(r, 0, table.PlainSize)
				var bad *FrameError
				if !errors.As(err, &bad) || bad.Number != f.Number || !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
					t.Errorf("frame %d: Reader: %v, want %v", f.Number, err, errDisk)
				}
				if got, err := readRange(r, f.plainEnd(), table.PlainSize-f.plainEnd()); err != nil {
					t.Errorf("frame %d: what follows it: %d bytes, %v", f.Number, len(got), err)
				}
				found, err := Check(context.Background(), disk, table, ReaderOptions{})
				if err != nil || len(found) != 1 || found[0].Number != f.Number {
					t.Errorf("frame %d: Check: %v, %v", f.Number, found, err)
				}
			}
		})
	}
}

func TestScanTable(t *testing.T) { testScanTable(t) }

func TestScanTableOfLongFrames(t *testing.T) {
	lowerLong(t, 500)
	testScanTable(t)
}

func testScanTable(t *testing.T) {
	files := smallFiles(t)
	z := readTable(t, files["zstd"]).Frames
	x := readTable(t, files["xz"]).Frames
	last := len(z) - 1
	tests := []struct {
		name, file string
		hurt       func(file []byte) []byte
		frames     []int // numbers of those that are found
		damage     []int64
	}{
		{"whole", "zstd", func(b []byte) []byte { return b }, []int{0, 1, 2, 3}, nil},
		{"seek table", "zstd", flip(-3), []int{0, 1, 2, 3}, []int64{z[last].end()}},
		{"no seek table", "zstd", cut(z[last].end()), []int{0, 1, 2, 3}, []int64{z[last].end()}},
		{"stamp", "zstd", flip(z[1].Offset - 20), []int{0, 1, 2, 3}, []int64{z[1].Offset - stampSize}},
		{"magic of a stamp", "zstd", flip(z[1].Offset - 64), []int{0, 1, 2, 3}, []int64{z[1].Offset - stampSize}},
		{"magic of the first frame", "zstd", flip(0), []int{0, 1, 2, 3}, []int64{0}},
		{"header of a block", "zstd", flip(z[2].Offset + 10), []int{0, 1, 2, 3}, []int64{z[2].Offset}},
		{"a sector", "zstd", zero(z[1].Offset-30, z[1].Offset+30), []int{0, 2, 3}, []int64{z[1].Offset - stampSize}},
		{"two frames", "zstd", zero(z[1].Offset, z[2].Offset+30), []int{0, 3}, []int64{z[1].Offset}},
		{"last frame", "zstd", zero(z[last].Offset, z[last].end()), []int{0, 1, 2}, []int64{z[last].Offset}},
		{"cut short", "zstd", cut(z[last].Offset + 5), []int{0, 1, 2}, []int64{z[last].Offset}},

		{"whole", "xz", func(b []byte) []byte { return b }, []int{0, 1, 2, 3}, nil},
		{"stream header", "xz", flip(3), []int{0, 1, 2, 3}, []int64{0}},
		{"index", "xz", flip(-20), []int{0, 1, 2, 3}, []int64{x[last].end()}},
		{"footer", "xz", flip(-1), []int{0, 1, 2, 3}, []int64{x[last].end()}},
		{"header of a block", "xz", flip(x[2].Offset + 5), []int{0, 1}, []int64{x[2].Offset}},
		{"cut short", "xz", cut(x[last].Offset + 30), []int{0, 1, 2}, []int64{x[last].Offset}},
	}
	for _, tt := range tests {
		t.Run(tt.file+"/"+tt.name, func(t *testing.T) {
			whole := readTable(t, files[tt.file])
			file := tt.hurt(bytes.Clone(files[tt.file]))
			table, damage, err := ScanTable(bytes.NewReader(file), int64(len(file)), whole.Format)
			if err != nil {
				t.Fatal(err)
			}
			var found []int
			for _, f := range table.Frames {
				found = append(found, f.Number)
				if f != whole.Frames[f.Number] {
					t.Errorf("frame %+v, want %+v", f, whole.Frames[f.Number])
				}
			}
			var places []int64
			for _, d := range damage {
				places = append(places, d.Offset)
			}
			if !slices.Equal(found, tt.frames) || !slices.Equal(places, tt.damage) {
				t.Errorf("frames %v, damage %v, want %v and damage at %v", found, damage, tt.frames, tt.damage)
			}
		})
	}
}

// flip returns a function that damages the byte at off, from the end if it is negative.
func flip(off int64) func([]byte) []byte {
	return func(b []byte) []byte {
		if off < 0 {
			off += int64(len(b))
		}
		b[off] ^= 0xFF
		return b
	}
}

func cut(n int64) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

func zero(from, to int64) func([]byte) []byte {
	return func(b []byte) []byte {
		clear(b[from:to])
		return b
	}
}

func TestScanTableKeepsOutOfAFileInsideOfTheFile(t *testing.T) {
	o := WriterOptions{Format: Zstd, FrameSize: MinFrameSize, ContentID: [32]byte{9}}
	inner := write(t, o, []part{{true, random(5, 20*MinFrameSize)}})
	o.ContentID, o.FrameSize = [32]byte{1}, 1<<16
	file := write(t, o, []part{{false, text(1, 100)}, {true, random(6, 200)}, {true, inner}, {false, text(2, 100)}})
	table := readTable(t, file)
	file[table.Frames[1].Offset+3] ^= 1
	got, damage, err := ScanTable(bytes.NewReader(file), int64(len(file)), Zstd)
	if err != nil || len(damage) != 1 || fmt.Sprint(got) != fmt.Sprint(table) {
		t.Errorf("%v, %v, %v, want %v", got, damage, err, table)
	}
}

func TestSalvage(t *testing.T) {
	want := random(1, 300_000)
	for _, format := range []Format{Zstd, XZ} {
		file := write(t, WriterOptions{Format: format}, []part{{true, want}})
		f := readTable(t, file).Frames[0]
		raw := file[f.Offset:f.end()]
		l := layoutOf(format)
		for name, off := range map[string]int64{
			"head":              5,
			"first byte":        chunkStart(l, 0) + chunkHeaderSize,
			"header of a chunk": chunkStart(l, 1),
			"checksum":          f.Size - 1,
		} {
			t.Run(fmt.Sprintf("%v/%s", format, name), func(t *testing.T) {
				hurt := bytes.Clone(raw)
				hurt[off] ^= 0x40
				d := NewDecoder(format, ReaderOptions{})
				if _, err := d.Decode(context.Background(), nil, f, hurt); !errors.Is(err, ErrCorrupt) {
					t.Errorf("Decode: %v, want %v", err, ErrCorrupt)
				}
				got := d.Salvage(nil, f, hurt)
				if len(got) != len(want) {
					t.Fatalf("%d bytes, want %d", len(got), len(want))
				}
				for i := range got {
					if got[i] != want[i] && (name != "first byte" || i > 0) {
						t.Fatalf("byte %d is %#x, want %#x", i, got[i], want[i])
					}
				}
			})
		}
	}
	t.Run("compressed", func(t *testing.T) {
		file := write(t, WriterOptions{Format: Zstd}, []part{{false, text(1, 5000)}})
		f := readTable(t, file).Frames[0]
		if got := NewDecoder(Zstd, ReaderOptions{}).Salvage(nil, f, file[:f.Size]); got != nil {
			t.Errorf("%d bytes, want none", len(got))
		}
	})
}

// hole is a file of which many bytes cannot be read, as it says.
type hole struct {
	before, behind []byte
	size           int64 // of what lies between them
	failed         int
}

// unreadable is the error of a hole.
type unreadable int64

func (unreadable) Error() string          { return "not there" }
func (to unreadable) UnreadableTo() int64 { return int64(to) }

func (h *hole) ReadAt(p []byte, off int64) (n int, err error) {
	start, end := int64(len(h.before)), int64(len(h.before))+h.size
	if off < start {
		n = copy(p, h.before[off:])
	}
	if at := off + int64(n); at >= end {
		return n + copy(p[n:], h.behind[at-end:]), nil
	}
	if n < len(p) {
		h.failed++
		err = unreadable(end)
	}
	return n, err
}

// What is known to be unreadable is passed over in one go, however large it is.
func TestScanTablePassesOverAHole(t *testing.T) {
	o := WriterOptions{Format: Zstd, FrameSize: MinFrameSize, ContentID: [32]byte{1, 2, 3}}
	file := write(t, o, []part{{false, text(1, 8*MinFrameSize)}})
	whole, err := ReadTable(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	third, sixth := whole.Frames[2], whole.Frames[5]
	from, to := third.end(), sixth.Offset+10
	h := &hole{before: file[:from], behind: file[to:], size: 1 << 40}
	table, damage, err := ScanTable(h, int64(len(file))+h.size-(to-from), Zstd)
	if err != nil || len(damage) == 0 {
		t.Fatalf("got %v, %v, %v", table, damage, err)
	}
	var numbers []int
	for _, f := range table.Frames {
		numbers = append(numbers, f.Number)
	}
	if want := []int{0, 1, 2, 6, 7}; !slices.Equal(numbers, want) {
		t.Errorf("got frames %v, want %v", numbers, want)
	}
	if h.failed > 2*searchStep/sectorSize {
		t.Errorf("%d reads failed", h.failed)
	}
}
