package golang

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
)

// golden are the hashes of what each level makes of goldenParts, which are those of compress/flate as well. They hold for
// ever: a layer that was taken apart with these encoders can be put together by no others.
var golden = map[int]string{
	-2: "722e19b5f3c8f31579062ff541a55113999d7a1e14839143f044e97b68854eb0",
	-1: "c74ea7769d4fc5a3958df31c154a7bff7a72ca8ab41be72aa3b50f4c5b16e4ec",
	0:  "f9652597404b1f33f812e782b1cd5696d40a90da954d9fc39ccc802580490595",
	1:  "31756073de433a21e74d41c8292df59aa86bdf12021d0675ed479132f8b8a7f4",
	2:  "d81f6cd8be0cf121112feb14ee5b7d372cf70e3774646b1d8ed0809c5ec8615e",
	3:  "327299453b068f877cf00db10a70e8dc34a8614d24cd14f5579055a6b6e987ae",
	4:  "dd9aa21c07073c5470e445c37853c88fbb39ca34d6008d599272324774fd9443",
	5:  "c77a325e8e1256bce31669cdd2652f38628eb34675e8a1e9505f2191574fa25e",
	6:  "c74ea7769d4fc5a3958df31c154a7bff7a72ca8ab41be72aa3b50f4c5b16e4ec",
	7:  "4fc7e963a95798d70a2957be11b542f79669ca12faae64c571b9ef9a55596559",
	8:  "2c104241f08709dd5850c39cf2d771514572659a58995233f75a17bc02173630",
	9:  "cfd6dcfe2239261208abac1ac870f6c3c0d6bb9e07bb4e48b51422fa08394d66",
}

func goldenParts() [][]byte {
	a, b := mixed(100, 1<<20), text(101, 300000)
	return [][]byte{a[:70001], a[70001:70101], append(a[70101:], b...), far(102, 300000), skewed(103, 70000), noise(104, 90000)}
}

func TestGolden(t *testing.T) {
	parts := goldenParts()
	for _, level := range levels {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			sum := sha256.Sum256(newEncoded(t, level).encode(t, 1, parts...))
			if got := hex.EncodeToString(sum[:]); got != golden[level] {
				t.Errorf("got %s, want %s", got, golden[level])
			}
		})
	}
}

func TestGoldenIsOfCompressFlate(t *testing.T) {
	needReference(t)
	for _, level := range levels {
		sum := sha256.Sum256(newEncoded(t, level).reference(goldenParts()...))
		if got := hex.EncodeToString(sum[:]); got != golden[level] {
			t.Errorf("level %d: %s of compress/flate, want %s", level, got, golden[level])
		}
	}
}
