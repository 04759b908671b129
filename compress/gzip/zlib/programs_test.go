package zlib

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// input is plain bytes that the programs get.
type input struct {
	kind string
	size int
}

func (i input) String() string { return fmt.Sprintf("%s-%d", i.kind, i.size) }

// inputs are sizes that have an edge of the window, of a chunk, of a match or of a hash in or near them.
func inputs() []input {
	var all []input
	for _, kind := range kinds {
		for _, size := range []int{0, 1, 2, 3, 4, 300} {
			all = append(all, input{kind, size})
		}
	}
	return append(all,
		input{"zeros", 32769}, input{"random", 32768}, input{"text", 32507}, input{"tar", 32506}, input{"few", 32767},
		input{"zeros", 65536}, input{"random", 65275}, input{"text", 65300}, input{"tar", 65274}, input{"few", 65535},
		input{"zeros", 98305}, input{"random", 98040}, input{"text", 98100}, input{"tar", 98304}, input{"few", 65300},
		input{"zeros", 131073}, input{"random", 131072}, input{"text", 131071}, input{"tar", 131072}, input{"tar", 300_000},
	)
}

// TestPrograms compares with the programs themselves, where they are installed.
func TestPrograms(t *testing.T) {
	levels := func(v Variant, args ...string) (cases []programCase) {
		for level := 1; level <= 9; level++ {
			cases = append(cases, programCase{v, level, append(args, "-n", "-"+strconv.Itoa(level))})
		}
		return cases
	}
	for _, tc := range []struct {
		name, version string
		cases         []programCase
	}{
		{"gzip", "gzip 1.12", levels(GNUGzip)},
		{"busybox", "BusyBox v1.35.0 (Debian", []programCase{{LargeBusyBox, 6, []string{"gzip", "-c"}}}},
		{"pigz", "pigz 2.6", append(
			levels(DefaultPigz, "-p", "2"),
			programCase{SeparatingPigz, 6, []string{"-p", "2", "-n", "-i"}},
			programCase{Variant{Program: Pigz, Chunk: 32 << 10}, 6, []string{"-p", "2", "-n", "-b", "32"}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			needVersion(t, tc.name, tc.version)
			for _, c := range tc.cases {
				t.Run(strings.Join(c.args, ""), func(t *testing.T) { c.compare(t, tc.name) })
			}
		})
	}
}

type programCase struct {
	v     Variant
	level int
	args  []string
}

func (c programCase) compare(t *testing.T, program string) {
	t.Parallel()
	for _, in := range inputs() {
		if c.v.Program == Pigz && c.v.Chunk < DefaultChunk && in.size < c.v.Chunk {
			continue // as with any other chunk
		}
		plain := sample(in.kind, in.size)
		cmd := exec.Command(program, c.args...)
		cmd.Stdin = bytes.NewReader(plain)
		gz, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := encode(t, c.v, c.level, plain, 10240); !bytes.Equal(got, body(t, gz)) {
			t.Errorf("%v: other stream than that of %s", in, program)
		}
	}
}

// needVersion skips the test without the program in a version that is known to make these streams.
func needVersion(t *testing.T, program, version string) {
	t.Helper()
	args := []string{"--version"}
	if program == "busybox" {
		args = nil
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), version) {
		t.Skipf("no %s here", version)
	}
}

// pythonServer reads jobs of encoding with zlib, and writes the streams.
const pythonServer = `
import json, struct, sys, zlib
i, o = sys.stdin.buffer, sys.stdout.buffer
while line := i.readline():
    job = json.loads(line)
    data = i.read(job['size'])
    c = zlib.compressobj(job['level'], zlib.DEFLATED, -15, job['memory'], zlib.Z_DEFAULT_STRATEGY, i.read(job['dict']))
    out, at = b'', 0
    for stop in job['flushes']:
        out += c.compress(data[at:stop]) + c.flush(zlib.Z_SYNC_FLUSH)
        at = stop
    out += c.compress(data[at:]) + c.flush()
    o.write(struct.pack('<I', len(out)) + out)
    o.flush()
`

// pythonJob is a stream that zlib is to make. Only the sizes of what follows are in it.
type pythonJob struct {
	Level   int   `json:"level"`
	Memory  int   `json:"memory"`
	Size    int   `json:"size"`
	Dict    int   `json:"dict"`
	Flushes []int `json:"flushes"`
}

// python is a process that makes streams with zlib.
type python struct {
	in  io.WriteCloser
	out io.Reader
}

// startPython skips the test where Python has not the zlib that is meant.
func startPython(t *testing.T) *python {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import zlib; print(zlib.ZLIB_RUNTIME_VERSION)").Output()
	version := strings.TrimSpace(string(out))
	if err != nil || !strings.HasPrefix(version, "1.2.1") && !strings.HasPrefix(version, "1.3") || strings.Contains(version, "ng") {
		t.Skipf("no python3 with zlib 1.2.11 to 1.3 here")
	}
	cmd := exec.Command("python3", "-c", pythonServer)
	p := new(python)
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *python) encode(t *testing.T, job pythonJob, plain, dict []byte) []byte {
	t.Helper()
	job.Size, job.Dict = len(plain), len(dict)
	if job.Flushes == nil {
		job.Flushes = []int{}
	}
	line, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(bytes.Join([][]byte{line, []byte("\n"), plain, dict}, nil)); err != nil {
		t.Fatal(err)
	}
	var size uint32
	if err := binary.Read(p.out, binary.LittleEndian, &size); err != nil {
		t.Fatal(err)
	}
	stream := make([]byte, size)
	if _, err := io.ReadFull(p.out, stream); err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestZlib compares with zlib, as Python has it.
func TestZlib(t *testing.T) {
	p := startPython(t)
	for level := 1; level <= 9; level++ {
		for memory := 1; memory <= 9; memory++ {
			if memory < 8 && level != 6 {
				continue
			}
			for _, in := range inputs() {
				plain := sample(in.kind, in.size)
				want := p.encode(t, pythonJob{Level: level, Memory: memory}, plain, nil)
				got := encode(t, Variant{Program: Zlib, Memory: memory}, level, plain, 1<<15)
				if !bytes.Equal(got, want) {
					t.Errorf("level %d, memory level %d, %v: other stream than that of zlib", level, memory, in)
				}
			}
		}
	}
}

// TestZlibFlush compares streams with flushes.
func TestZlibFlush(t *testing.T) {
	p := startPython(t)
	const size = 130_000
	for level := 1; level <= 9; level++ {
		for i, flushes := range [][]int{
			{0},
			{1},
			{1, 2},
			{2, 3, 4, 7},
			{100, 100, 200},
			{65270, 65280},
			{65274},
			{65400, 70000},
			{65536},
			{98304, 98400},
			{size},
			{size / 3, size / 2, size - 1},
		} {
			kind := kinds[(i+level)%len(kinds)]
			plain := sample(kind, size)
			job := pythonJob{Level: level, Memory: 8, Flushes: flushes}
			if got, want := encode(t, DefaultZlib, level, plain, 1<<15, flushes...), p.encode(t, job, plain, nil); !bytes.Equal(got, want) {
				t.Errorf("level %d, %s, flushes after %v: other stream than that of zlib", level, kind, flushes)
			}
		}
	}
}

// TestZlibDictionary compares streams that Reset begins behind a dictionary.
func TestZlibDictionary(t *testing.T) {
	p := startPython(t)
	for level := 1; level <= 9; level++ {
		for _, size := range []int{1, 2, 3, 100, 32506, 32507, 32767, 32768, 32769, 40000} {
			kind := kinds[(size+level)%len(kinds)]
			all := sample(kind, size+70_000)
			dict, plain := all[:size], all[size:]
			want := p.encode(t, pythonJob{Level: level, Memory: 8}, plain, dict)
			if got := encodeAfter(t, DefaultZlib, level, dict, plain); !bytes.Equal(got, want) {
				t.Errorf("level %d, %s behind %d bytes: other stream than that of zlib", level, kind, size)
			}
		}
	}
}
