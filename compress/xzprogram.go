package compress

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os/exec"
	"strings"
)

// xzProgramEncoder runs the xz program, once a block and with one thread, so that the bytes do not depend on the
// number of processors.
type xzProgramEncoder struct {
	path  string
	level Level
}

func (e xzProgramEncoder) encode(ctx context.Context, dst, plain []byte) ([]byte, error) {
	preset := xzPresets[e.level]
	filter := fmt.Sprintf("--lzma2=%s,dict=%d", preset.options, preset.dictSize(len(plain)))
	stream, err := runXZ(ctx, e.path, plain, maxEncoded(int64(len(plain))),
		"--compress", "--format=xz", "--check=crc32", "--threads=1", "--no-sparse", filter)
	if err != nil {
		return nil, err
	}
	data, dict, err := onlyBlock(stream, plain)
	if err != nil {
		return nil, fmt.Errorf("%s: its stream: %w", e.path, err)
	}
	start := len(dst)
	dst = append(grow(dst, xzBlockHeader), data...)
	return finishBlock(dst, start, plain, dict), nil
}

// onlyBlock returns the LZMA2 data and the dictionary size code of a stream that holds plain in one block with CRC32.
// Its header need not state sizes.
func onlyBlock(stream, plain []byte) (data []byte, dict byte, err error) {
	bad := errors.New("it is not one block of LZMA2")
	if len(stream) < xzHeaderSize+8 {
		return nil, 0, bad
	}
	if check, err := parseXZHeader(stream[:xzHeaderSize]); err != nil || check != xzCheckCRC32 {
		return nil, 0, bad
	}
	block := stream[xzHeaderSize:]
	header := (int(block[0]) + 1) * 4
	index, _, err := readXZFooter(bytes.NewReader(stream), int64(len(stream)))
	if err != nil {
		return nil, 0, err
	}
	count, rest, err := xzVarint(index[1:])
	if err != nil || count != 1 {
		return nil, 0, bad
	}
	unpadded, _, err := xzVarint(rest)
	end := int64(unpadded) - xzCheckSize
	if err != nil || unpadded > uint64(len(block)) || header < 8 || end <= int64(header) {
		return nil, 0, bad
	}
	dict, err = headerDict(block[:header])
	if err != nil {
		return nil, 0, err
	}
	check := block[end+xzPad(end):]
	if len(check) < xzCheckSize || binary.LittleEndian.Uint32(check) != crc32.ChecksumIEEE(plain) {
		return nil, 0, errors.New("its checksum is not that of what went in")
	}
	return block[header:end], dict, nil
}

// headerDict returns the dictionary size code of a block header with or without sizes.
func headerDict(p []byte) (byte, error) {
	rest := p[2:]
	for _, flag := range []byte{0x40, 0x80} {
		if p[1]&flag != 0 {
			var err error
			if _, rest, err = xzVarint(rest); err != nil {
				return 0, err
			}
		}
	}
	if p[1]&^xzHasSizes != 0 || len(rest) < 3 || rest[0] != xzFilterLZMA2 || rest[1] != 1 {
		return 0, errors.New("its filter is not LZMA2")
	}
	return rest[2], nil
}

// decodeXZProgram appends the plain bytes of a block to dst, by the xz program at path. The program checks them.
func decodeXZProgram(ctx context.Context, path string, dst, raw []byte, p xzPart) ([]byte, error) {
	x := &xzIndex{check: p.kind}
	x.add(raw, p.plain)
	stream := append(x.start(), raw...)
	stream = append(stream, x.finish()...)
	plain, err := runXZ(ctx, path, stream, p.plain, "--decompress", "--format=xz", "--threads=1", "--no-sparse")
	if err != nil {
		return dst, err
	}
	if int64(len(plain)) != p.plain {
		return dst, fmt.Errorf("%d plain bytes, want %d", len(plain), p.plain)
	}
	return append(dst, plain...), nil
}

// programError is what a program said about its input.
type programError struct {
	path, text string
	err        error
}

func (e *programError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("%s: %v", e.path, e.err)
	}
	return fmt.Sprintf("%s: %v: %s", e.path, e.err, e.text)
}

func (e *programError) Unwrap() error { return e.err }

// exited reports whether the program ran, and ended because of its input.
func (e *programError) exited() bool {
	var exit *exec.ExitError
	return errors.As(e.err, &exit) || errors.Is(e.err, errTooLong)
}

// errTooLong ends a program that writes more than it may.
var errTooLong = errors.New("it wrote more than it should")

// command returns the xz or the zstd program, writing to its standard output, before it runs. Nothing of the
// environment reaches it: XZ_OPT would change the bytes.
func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, append(args, "--stdout", "--quiet")...)
	cmd.Env = []string{"LC_ALL=C"}
	return cmd
}

// runXZ gives input to the xz program and returns what it writes, which is at most limit bytes.
func runXZ(ctx context.Context, path string, input []byte, limit int64, args ...string) ([]byte, error) {
	cmd := command(ctx, path, args...)
	cmd.Stdin = bytes.NewReader(input)
	out := &boundedWriter{limit: limit, b: make([]byte, 0, min(limit, int64(max(len(input), 64<<10))))}
	text := &boundedWriter{limit: 1 << 10, cut: true}
	cmd.Stdout, cmd.Stderr = out, text
	err := cmd.Run()
	switch {
	case out.over:
		return nil, &programError{path: path, err: errTooLong}
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &programError{path: path, text: strings.TrimSpace(string(text.b)), err: err}
	}
	return out.b, nil
}

// boundedWriter keeps at most limit bytes. What is more is an error or, with cut, dropped.
type boundedWriter struct {
	b     []byte
	limit int64
	cut   bool
	over  bool
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	room := w.limit - int64(len(w.b))
	if int64(len(p)) <= room {
		w.b = append(w.b, p...)
		return len(p), nil
	}
	w.b = append(w.b, p[:room]...)
	if w.cut {
		return len(p), nil
	}
	w.over = true
	return 0, errTooLong
}
