package local

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest window or dictionary of a compressed archive, in bytes.
const maxWindow = 128 << 20

// compression is how an archive is compressed as a whole.
type compression string

const (
	plainTar compression = ""
	gzipped  compression = "gzip"
	zstded   compression = "zstd"
	xzed     compression = "xz"
	bzipped  compression = "bzip2"
)

var magics = []struct {
	magic string
	compression
}{
	{"\x1f\x8b", gzipped},
	{"\x28\xb5\x2f\xfd", zstded},
	{"\xfd7zXZ\x00", xzed},
	{"BZh", bzipped},
}

// sniffSize is how many bytes of a file tell how it is compressed.
const sniffSize = 512

// sniff tells by the first sniffSize bytes of a file, or as many as it has, how it is compressed. What looks like a tar is none of
// these, whatever its first name begins with.
func sniff(head []byte) compression {
	if len(head) >= 262 && bytes.HasPrefix(head[257:], []byte("ustar")) {
		return plainTar
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.compression
		}
	}
	return plainTar
}

// unzip writes the plain bytes of r to dst; xzProgram is the path of xz, or empty. What is wrong with the compressed bytes is
// [ErrCorrupt]; all else are errors of r and dst.
func unzip(ctx context.Context, dst io.Writer, r *bufio.Reader, c compression, xzProgram string) error {
	in, out := &noting{r: readerWith{ctx, r}}, &notingWriter{w: dst}
	var plain io.Reader
	var err error
	switch c {
	case gzipped:
		plain, err = gzip.NewReader(in)
	case zstded:
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true)); err == nil {
			defer z.Close()
			plain = z
		}
	case xzed:
		if xzProgram != "" {
			err = runXZ(ctx, xzProgram, out, in)
			break
		}
		plain, err = newXZReader(in)
	case bzipped:
		plain = bzip2.NewReader(in)
	default:
		plain = in
	}
	if err == nil && plain != nil {
		_, err = io.Copy(out, plain)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case in.err != nil || out.err != nil:
		return errors.Join(in.err, out.err)
	}
	return corruptf("%s: %v", c, err)
}

// runXZ lets the program do it, which checks what it reads.
func runXZ(ctx context.Context, program string, dst io.Writer, in io.Reader) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program,
		"--decompress", "--stdout", "--format=xz", "--no-sparse", fmt.Sprintf("--memlimit-decompress=%d", 2*maxWindow))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, dst, &said
	err := cmd.Run()
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		return errors.New(text)
	}
	return err
}

// noting is a reader that remembers its error, but for the end.
type noting struct {
	r   io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	m, err := n.r.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return m, err
}

// notingWriter is a writer that remembers its error.
type notingWriter struct {
	w   io.Writer
	err error
}

func (n *notingWriter) Write(p []byte) (int, error) {
	m, err := n.w.Write(p)
	if err != nil {
		n.err = err
	}
	return m, err
}
