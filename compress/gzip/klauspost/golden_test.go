package klauspost

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
)

// goldens are hashes of the bits that the originals make of generated(1, 3 MiB) at levels 1 to 6, with a flush after 700,000
// bytes and another one after 100 more. They were made on amd64 with copies of flate of v1.17.11, v1.18.0, v1.18.1 and
// v1.20.3; v1.15.15, v1.16.7 and v1.18.2 gave the same. They never change.
var goldens = map[Generation][6]string{
	V1_15: {
		"c36f19be83b34c078f3dc7558625842e9d6453d1bc68c44fe7585c243ea73138",
		"f7d7e053133d7e3b463d35d03308777f06721aea0013cea0cb1ba513b338688e",
		"8c8f34b79c8ec5ce8c2ef3ff7202dbf318ea7a4492cb2764eb91e942b69048eb",
		"e87cf70e611119693fd95391b8a782e7f56f0463600bc5cb2ee7cae238add216",
		"51067036ad0f21e7ec3f0e09706eeaf050e0a2d1f225f22bb90b9ea8ca672a7d",
		"88393f995a4d71e8c707840ebc9c98ca0cef7425e4da00a182412282ddc63eb9",
	},
	V1_18_0: {
		"c36f19be83b34c078f3dc7558625842e9d6453d1bc68c44fe7585c243ea73138",
		"f7d7e053133d7e3b463d35d03308777f06721aea0013cea0cb1ba513b338688e",
		"8c8f34b79c8ec5ce8c2ef3ff7202dbf318ea7a4492cb2764eb91e942b69048eb",
		"36f6bb52cc5a2c4bb6f24e4fc6a20567b5de2b8bafca221c62cf419f76273db3",
		"51067036ad0f21e7ec3f0e09706eeaf050e0a2d1f225f22bb90b9ea8ca672a7d",
		"88393f995a4d71e8c707840ebc9c98ca0cef7425e4da00a182412282ddc63eb9",
	},
	V1_18_1: {
		"b6390e818718c640841c856c8bd41be7337cd93641ed11c3d2fa4d58134a473f",
		"d8b8d2bab5e6130be8a1171f3b021fb0af6a26b9254931a3df49c37773610bf0",
		"76e5755439f08dc7f634e245691af695679929a5140b118cb19a9478a907d7a9",
		"8fa319be0662524e5f09c6aa2cfb1012782c511bcd7c119e675da3edc3ba9ada",
		"f19ec1ffaa0cea2c9f073685d4013c06d8137f7ef3bbcd586b6b279018891651",
		"7c4c3fe11377276de21d4a80f862b15aa057559efb5721ec046163f65e7b3fb0",
	},
	V1_18_2: {
		"b6390e818718c640841c856c8bd41be7337cd93641ed11c3d2fa4d58134a473f",
		"d8b8d2bab5e6130be8a1171f3b021fb0af6a26b9254931a3df49c37773610bf0",
		"76e5755439f08dc7f634e245691af695679929a5140b118cb19a9478a907d7a9",
		"8fa319be0662524e5f09c6aa2cfb1012782c511bcd7c119e675da3edc3ba9ada",
		"f19ec1ffaa0cea2c9f073685d4013c06d8137f7ef3bbcd586b6b279018891651",
		"7c4c3fe11377276de21d4a80f862b15aa057559efb5721ec046163f65e7b3fb0",
	},
}

// chunkGoldens are those of pgzip v1.2.6 with flate v1.17.11 at its default level, by chunk size, without flushes.
var chunkGoldens = map[int]string{
	DefaultChunk: "a8ca11f87cd9bfd509994d5d77157e58190cc1503f5d9803c88f03aa3926bfae",
	UmociChunk:   "d6bbebdd5402694a6836cf21bd48df207fefa9de89392210c12d3953f97e4d12",
}

func TestGoldens(t *testing.T) {
	plain := generated(1, 3<<20)
	for generation, hashes := range goldens {
		for i, want := range hashes {
			t.Run(fmt.Sprintf("generation %d level %d", generation, i+1), func(t *testing.T) {
				e := newEncoded(t, generation, i+1, 0)
				checkHash(t, e.encode(t, plain[:700000], plain[700000:700100], plain[700100:]), want)
			})
		}
	}
	for size, want := range chunkGoldens {
		t.Run(fmt.Sprintf("chunks of %d", size), func(t *testing.T) {
			checkHash(t, newEncoded(t, V1_15, DefaultLevel, size).encode(t, plain), want)
		})
	}
}

func checkHash(t *testing.T, stream []byte, want string) {
	t.Helper()
	sum := sha256.Sum256(stream)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("sha256 of the stream is %s, want %s", got, want)
	}
}
