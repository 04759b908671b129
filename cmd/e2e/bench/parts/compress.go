package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"

	"github.com/ferry-oci/ferry/compress"
)

// compressMemory is what ferry pack gives its compressor.
const compressMemory = 400 << 20

// compressFiles writes files into one of long frames, which end between files.
func compressFiles(_ context.Context, flags *flag.FlagSet, args []string) (_ any, err error) {
	limit := flags.Int64("frame-size", compress.MaxLongFrame, "put at most this many plain `bytes` into a frame")
	name := flags.String("level", "best", "compress at this `level`")
	out := flags.String("o", os.DevNull, "write this `file`")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	level, err := compress.ParseLevel(*name)
	if err != nil {
		return nil, err
	}
	o := compress.WriterOptions{Format: compress.Zstd, Level: level, MaxMemory: compressMemory}
	if level == compress.Max {
		if o.ZstdProgram, err = exec.LookPath("zstd"); err != nil {
			return nil, err
		}
	}
	f, err := os.Create(*out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := compress.NewWriter(f, o)
	if err != nil {
		return nil, err
	}
	frames, err := cut(flags.Args(), *limit)
	if err != nil {
		return nil, err
	}
	for _, frame := range frames {
		if err := w.WriteLong(frame.size, frame.open); err != nil {
			return nil, err
		}
	}
	return map[string]int{"frames": len(frames)}, w.Close()
}

// frame is the content of a long frame: files, one after the other.
type frame struct {
	files []string
	size  int64
}

// cut divides files into frames.
func cut(files []string, limit int64) ([]frame, error) {
	var frames []frame
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		last := len(frames) - 1
		if last < 0 || frames[last].size+info.Size() > limit {
			frames, last = append(frames, frame{}), last+1
		}
		frames[last].files = append(frames[last].files, name)
		frames[last].size += info.Size()
	}
	return frames, nil
}

// open returns the content.
func (f frame) open(context.Context) (io.ReadCloser, error) {
	var files opened
	for _, name := range f.files {
		file, err := os.Open(name)
		if err != nil {
			return nil, errors.Join(err, files.Close())
		}
		files.open = append(files.open, file)
	}
	var parts []io.Reader
	for _, file := range files.open {
		parts = append(parts, file)
	}
	files.Reader = io.MultiReader(parts...)
	return files, nil
}

// opened reads files one after the other.
type opened struct {
	io.Reader
	open []*os.File
}

func (o opened) Close() error {
	var err error
	for _, f := range slices.Backward(o.open) {
		err = errors.Join(err, f.Close())
	}
	return err
}
