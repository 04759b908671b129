package compress

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// writeFrom writes the parts from plain offset skip on, which is where a frame ends.
func writeFrom(t *testing.T, o WriterOptions, parts []longPart, skip int64) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if w.Offset() != skip || w.Written() != skip {
		t.Errorf("offset %d, written %d; want %d", w.Offset(), w.Written(), skip)
	}
	for _, p := range parts {
		gone := min(skip, int64(len(p.data)))
		skip -= gone
		data := p.data[gone:]
		switch {
		case p.long && len(data) > 0:
			err = w.WriteLong(int64(len(data)), opener(data))
		case !p.long:
			if err = w.SetStored(p.stored); err == nil {
				_, err = w.Write(data)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// resumable are formats and engines, each with what it writes.
func resumable(t *testing.T) map[string]WriterOptions {
	all := map[string]WriterOptions{"none": {Format: None}}
	for name, o := range longEngines(t) {
		all[name] = o
	}
	for name, o := range all {
		o.FrameSize, o.Jobs, o.ContentID = 30_000, 2, [32]byte{1, 2, 3}
		all[name] = o
	}
	return all
}

// Behind whatever frame a Writer goes on, the file is the same.
func TestResume(t *testing.T) {
	parts := longMix()
	for name, o := range resumable(t) {
		t.Run(name, func(t *testing.T) {
			checkNoGoroutines(t)
			var frames []FrameEntry
			o.OnFrame = func(e FrameEntry) error {
				frames = append(frames, e)
				return nil
			}
			want := writeFrom(t, o, parts, 0)
			all := frames
			if got := int64(len(plainOfLong(parts))); got != plainSize(all) {
				t.Fatalf("frames of %d plain bytes were told of, want %d", plainSize(all), got)
			}
			for n := range len(all) + 1 {
				frames = nil
				o.Resume = all[:n]
				end := int64(0)
				if n > 0 {
					end = all[n-1].End
				}
				got := writeFrom(t, o, parts, plainSize(all[:n]))
				if !bytes.Equal(got, want[end:]) {
					t.Errorf("behind frame %d of %d: %d bytes, want %d, or others", n, len(all), len(got), len(want)-int(end))
				}
				if fmt.Sprint(frames) != fmt.Sprint(all[n:]) {
					t.Errorf("behind frame %d: told of %v, want %v", n, frames, all[n:])
				}
			}
		})
	}
}

func plainSize(frames []FrameEntry) int64 {
	n := int64(0)
	for _, e := range frames {
		n += e.Plain
	}
	return n
}

func TestResumeRefuses(t *testing.T) {
	good := FrameEntry{End: 100, Size: 100, Plain: 90}
	for name, tc := range map[string]struct {
		frames []FrameEntry
		want   string
	}{
		"an end too early":      {[]FrameEntry{{End: 99, Size: 100, Plain: 90}}, "ends at byte 99"},
		"no room for the stamp": {[]FrameEntry{good, {End: 200, Size: 100, Plain: 90}}, "frame 1 ends at byte 200"},
		"no plain bytes":        {[]FrameEntry{{End: 100, Size: 100}}, "with 0 plain bytes"},
		"too many plain bytes":  {[]FrameEntry{{End: 100, Size: 100, Plain: MaxLongFrame + 1}}, "frame 0 cannot be"},
		"no bytes":              {[]FrameEntry{{Plain: 5}}, "of 0 bytes"},
		"too many bytes":        {[]FrameEntry{{End: 1e6, Size: 1e6, Plain: 5}}, "of 1000000 bytes"},
	} {
		_, err := NewWriter(&bytes.Buffer{}, WriterOptions{Format: Zstd, Resume: tc.frames})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// An error of OnFrame ends the Writer as one of the file does.
func TestOnFrameFails(t *testing.T) {
	checkNoGoroutines(t)
	full := errors.New("journal: no space left")
	w, err := NewWriter(&bytes.Buffer{}, WriterOptions{Format: Zstd, OnFrame: func(FrameEntry) error { return full }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text(1, 10)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}
