package gzip

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestPlainReader(t *testing.T) {
	plain := text(300_000, 1)
	blob := append(goGzip(t, plain[:100_000], 6), goGzip(t, plain[100_000:], 1)...)
	for name, c := range map[string]struct {
		blob []byte
		size int
		want error
	}{
		"two members":               {blob, len(plain), nil},
		"the first one alone":       {blob, 100_000, nil},
		"a part":                    {blob, 100, nil},
		"nothing":                   {nil, 0, nil},
		"zeros behind":              {append(bytes.Clone(blob), make([]byte, 600)...), len(plain), nil},
		"noise behind":              {append(bytes.Clone(blob), "no member"...), len(plain), nil},
		"more than there is":        {blob, len(plain) + 1, io.ErrUnexpectedEOF},
		"cut in a stream":           {blob[:len(blob)/2], len(plain), io.ErrUnexpectedEOF},
		"cut in a trailer":          {blob[:len(goGzip(t, plain[:100_000], 6))-1], len(plain), io.ErrUnexpectedEOF},
		"noise in place of members": {[]byte("no member"), 1, errNoMember},
		"nothing, and some is due":  {nil, 1, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(iotest.OneByteReader(NewPlainReader(bytes.NewReader(c.blob), int64(c.size))))
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && !bytes.Equal(got, plain[:c.size]) {
				t.Errorf("%d bytes, want %d", len(got), c.size)
			}
		})
	}
}
