package compress

import (
	"bytes"
	"errors"
	"testing"
)

func TestFormatByName(t *testing.T) {
	for name, want := range map[string]Format{
		"k8s.tar.zst": Zstd, "K8S.TAR.XZ": XZ, "/a/b.tar": None, "a.tar.zst.tar": None,
	} {
		if got, err := FormatByName(name); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"", "k8s.zst", "k8s.tar.gz", "tar"} {
		if _, err := FormatByName(name); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, want %v", name, err, ErrFormat)
		}
	}
}

func TestSniff(t *testing.T) {
	for name, tt := range map[string]struct {
		head []byte
		want Format
		err  error
	}{
		"zstd":      {[]byte("\x28\xb5\x2f\xfd"), Zstd, nil},
		"xz":        {[]byte("\xfd7zXZ\x00\x00"), XZ, nil},
		"tar":       {tarHead(), None, nil},
		"short tar": {tarHead()[:261], None, ErrFormat},
		"empty":     {nil, None, ErrFormat},
		"text":      {bytes.Repeat([]byte("text "), 100), None, ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Sniff(tt.head); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%v, %v, want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestDetectLooksAtTheEndFirst(t *testing.T) {
	for name, file := range smallFiles(t) {
		t.Run(name, func(t *testing.T) {
			table := readTable(t, file)
			disk := brokenDisk{bytes.NewReader(file), 0, 4}
			if got, err := Detect(disk, int64(len(file))); err != nil || got != table.Format {
				t.Errorf("%v, %v, want %v", got, err, table.Format)
			}
			disk.from, disk.to = int64(len(file)-4), int64(len(file))
			if got, err := Detect(disk, int64(len(file))); err != nil || got != table.Format {
				t.Errorf("without its end: %v, %v, want %v", got, err, table.Format)
			}
		})
	}
}

func TestParseLevel(t *testing.T) {
	for level := Default; level.valid(); level++ {
		if got, err := ParseLevel(level.String()); err != nil || got != level {
			t.Errorf("%v: %v, %v", level, got, err)
		}
	}
	if _, err := ParseLevel("fast"); err == nil {
		t.Error("fast is a level")
	}
}

func TestIsCompressed(t *testing.T) {
	for name, tt := range map[string]struct {
		head string
		want bool
	}{
		"gzip":        {"\x1f\x8b\x08\x00", true},
		"zstd":        {"\x28\xb5\x2f\xfd", true},
		"xz":          {"\xfd7zXZ\x00", true},
		"bzip2":       {"BZh91AY&SY", true},
		"lz4":         {"\x04\x22\x4d\x18", true},
		"7z":          {"7z\xbc\xaf\x27\x1c", true},
		"zip":         {"PK\x03\x04", true},
		"png":         {"\x89PNG\r\n\x1a\n", true},
		"jpeg":        {"\xff\xd8\xff\xe0", true},
		"age":         {"age-encryption.org/v1\n", true},
		"empty":       {"", false},
		"short magic": {"\x1f\x8b", false},
		"elf":         {"\x7fELF", false},
		"json":        {`{"a":1}`, false},
	} {
		if got := IsCompressed([]byte(tt.head)); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
