package golang

import "testing"

func FuzzEncoderEqualsCompressFlate(f *testing.F) {
	needReference(f)
	for level := range 12 {
		f.Add(uint8(level), uint64(level), text(uint64(level), 3000))
		f.Add(uint8(level), uint64(level), mixed(uint64(level), 90000))
	}
	encoders := map[int]*encoded{}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64, plain []byte) {
		level := int(which%12) - 2
		if encoders[level] == nil {
			encoders[level] = newEncoded(t, level)
		}
		r := numbers(seed)
		encoders[level].check(t, level, seed, split(&r, plain)...)
	})
}
