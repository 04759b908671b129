package gzip

import "encoding/binary"

// magic begins a recipe of version 1.
const magic = "fgz\x01"

// Encode returns the bytes of r, as RECIPE.md describes them. Equal recipes have equal bytes.
func (r *Recipe) Encode() []byte {
	b := []byte(magic)
	b = appendNumber(b, r.Size)
	b = append(b, r.Digest[:]...)
	b = appendNumber(b, r.PlainSize)
	b = append(b, r.PlainDigest[:]...)
	b = appendNumber(b, int64(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendBytes(b, h)
	}
	b = appendNumber(b, int64(len(r.Engines)))
	for _, e := range r.Engines {
		b = binary.AppendUvarint(b, uint64(e.ID))
		b = appendNumber(b, int64(e.Level)+levelOffset)
		b = appendNumber(b, int64(e.Variant))
		b = appendNumber(b, int64(e.Chunk))
	}
	b = appendNumber(b, int64(len(r.Members)))
	for i := range r.Members {
		m := &r.Members[i]
		b = m.append(b, r.Engines[m.Engine].ID == Verbatim)
	}
	b = appendNumber(b, r.Zeros)
	return appendBytes(b, r.Rest)
}

func (m *Member) append(b []byte, verbatim bool) []byte {
	b = appendNumber(b, int64(m.Header))
	b = appendNumber(b, int64(m.Engine))
	b = append(b, m.Padding)
	b = appendNumber(b, m.Size)
	if verbatim {
		b = appendBytes(b, m.Stream)
	}
	b = appendNumber(b, int64(len(m.Flushes)))
	last := int64(0)
	for _, at := range m.Flushes {
		b = appendNumber(b, at-last)
		last = at
	}
	b = appendNumber(b, int64(len(m.Checkpoints)))
	last = 0
	for _, c := range m.Checkpoints {
		b = appendNumber(b, c.Plain-last)
		b = appendNumber(b, c.Blocks)
		b = append(b, c.Bits)
		last = c.Plain
	}
	return b
}

func appendNumber(b []byte, n int64) []byte { return binary.AppendUvarint(b, uint64(n)) }

func appendBytes(b, p []byte) []byte { return append(appendNumber(b, int64(len(p))), p...) }
