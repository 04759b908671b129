package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// programHead returns what a program for a platform begins with.
func programHead(t *testing.T, platform string) []byte {
	t.Helper()
	head := make([]byte, 1024)
	le := binary.LittleEndian
	goos, arch, _ := strings.Cut(platform, "/")
	m := machines[arch]
	switch goos {
	case "linux":
		copy(head, "\x7fELF\x02\x01\x01")
		le.PutUint16(head[16:], 2) // an executable
		le.PutUint16(head[18:], uint16(m.elf))
		le.PutUint32(head[20:], 1)
		le.PutUint16(head[52:], 64) // size of this head, then of the tables' entries
		le.PutUint16(head[54:], 56)
		le.PutUint16(head[58:], 64)
	case "windows":
		copy(head, "MZ")
		le.PutUint32(head[0x3c:], 128)
		copy(head[128:], "PE\x00\x00")
		le.PutUint16(head[132:], m.pe)
	case "darwin":
		le.PutUint32(head, 0xfeedfacf)
		le.PutUint32(head[4:], uint32(m.macho))
		le.PutUint32(head[12:], 2)
	}
	return head
}

// writeFiles writes files into a new folder.
func writeFiles(t *testing.T, files map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCompanions(t *testing.T) {
	linux, windows, darwin := programHead(t, "linux/arm64"), programHead(t, "windows/amd64"), programHead(t, "darwin/arm64")
	all := map[string][]byte{"ferry-linux-arm64": linux, "ferry-windows-amd64.exe": windows, "ferry-darwin-arm64": darwin}
	with := func(sums string) map[string][]byte {
		files := map[string][]byte{"SHA256SUMS": []byte(sums)}
		for name, content := range all {
			files[name] = content
		}
		return files
	}
	line := func(content []byte, name string) string { return sumOf(content) + "  " + name + "\n" }
	platforms := []string{"linux/arm64", "windows/amd64", "darwin/arm64", "linux/arm64"}
	for _, test := range []struct {
		name      string
		files     map[string][]byte
		beside    map[string][]byte
		platforms []string
		err       string
	}{
		{"no checksums", all, nil, platforms, ""},
		{"checksums", with(line(linux, "ferry-linux-arm64") + line(windows, "ferry-windows-amd64.exe") + line(darwin, "ferry-darwin-arm64")), nil, platforms, ""},
		{"another checksum", with(line(windows, "ferry-linux-arm64")), nil, platforms[:1], "ferry-linux-arm64 has sha256 " + sumOf(linux)},
		{"no line among the checksums", with(line(windows, "ferry-windows-amd64.exe")), nil, platforms[:1], "SHA256SUMS does not name ferry-linux-arm64"},
		{"no binary", nil, nil, []string{"linux/riscv64"}, "ferry-linux-riscv64: no such file or directory; `make release` builds it"},
		{"for another system", map[string][]byte{"ferry-linux-arm64": windows}, nil, platforms[:1], "not a program for that platform"},
		{"for another processor", map[string][]byte{"ferry-linux-amd64": linux}, nil, []string{"linux/amd64"}, "not a program for that platform"},
		{"no program", map[string][]byte{"ferry-windows-amd64.exe": []byte("MZ")}, nil, []string{"windows/amd64"}, "not a program for that platform"},
		{"no platform", all, nil, []string{"linux"}, "OS/ARCHITECTURE is needed"},
		{"a path", all, nil, []string{"linux/../arm64"}, "OS/ARCHITECTURE is needed"},
		{"there already", all, map[string][]byte{"ferry-linux-arm64": linux}, platforms, ""},
		{"another file is there", all, map[string][]byte{"ferry-linux-arm64": darwin}, platforms, "is there with other content"},
		{
			"of an earlier bundle of the name", all,
			map[string][]byte{"ferry-linux-arm64": darwin, "k8s.tar.sha256": []byte(line(darwin, "ferry-linux-arm64"))},
			platforms, "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := filepath.Join(writeFiles(t, test.beside), "k8s.tar")
			f := withFlags{platforms: test.platforms, from: writeFiles(t, test.files)}
			got, err := f.companions(out)
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
			case err != nil:
				t.Error(err)
			case len(got) != 4 || got[3].name != "README.txt" || got[0].sum != sumOf(linux):
				t.Errorf("got %+v", got)
			}
		})
	}
}

// This ferry's own platform is itself where no other is given.
func TestOwnPlatform(t *testing.T) {
	own := runtime.GOOS + "/" + runtime.GOARCH
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := withFlags{platforms: []string{own}, from: t.TempDir()}
	got, err := f.companions(filepath.Join(t.TempDir(), "k8s.tar"))
	if err != nil || got[0].path != self || !strings.HasPrefix(got[0].name, "ferry-"+runtime.GOOS) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Another README.txt is left alone.
func TestReadmeOfSomebody(t *testing.T) {
	out := filepath.Join(writeFiles(t, map[string][]byte{"README.txt": []byte("mine")}), "k8s.tar")
	f := withFlags{platforms: []string{runtime.GOOS + "/" + runtime.GOARCH}}
	got, err := f.companions(out)
	if err != nil || len(got) != 2 || got[1].name != "k8s.tar.README.txt" {
		t.Errorf("got %+v, %v", got, err)
	}
	if !bytes.Equal(got[1].text, withReadme) {
		t.Errorf("got %q", got[1].text)
	}
}
