package oci

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseListOfKubespray(t *testing.T) {
	f, err := os.Open("testdata/kubespray.list")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refs, err := ParseList("kubespray.list", f)
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != 57 || len(Unique(refs)) != 57 {
		t.Errorf("%d references, %d of them unique, want 57", len(refs), len(Unique(refs)))
	}
	hosts := map[string]int{}
	for _, r := range refs {
		hosts[r.Host]++
	}
	if len(hosts) != 4 || hosts["docker.io"] == 0 || hosts["quay.io"] == 0 || hosts["ghcr.io"] == 0 {
		t.Errorf("hosts %v", hosts)
	}
	if pause := (Reference{Repository: Repository{"registry.k8s.io", "pause"}, Tag: "3.10"}); !slices.Contains(refs, pause) {
		t.Errorf("%s is not in the list", pause)
	}
}

func TestParseList(t *testing.T) {
	const a, b = "docker.io/library/a:latest", "docker.io/library/b:1"
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"empty", "", nil},
		{"no end of line", "a\nb:1", []string{a, b}},
		{"blank lines and spaces", "\n  a \t\n\n\tb:1\n\n", []string{a, b}},
		{"comments", "# one\na # two\n  # three\nb:1\t#four # five\n#", []string{a, b}},
		{"CRLF", "a\r\nb:1\r\n\r\n", []string{a, b}},
		{"byte order mark", "\xef\xbb\xbfa\nb:1\n", []string{a, b}},
		{"byte order mark and comment", "\xef\xbb\xbf# list\na\n", []string{a}},
		{"byte order mark and nothing", "\xef\xbb\xbf", nil},
		{"duplicates", "a\nb:1\na\n", []string{a, b, a}},
		{"longest line", "a " + "#" + strings.Repeat("x", maxListLine-3) + "\r\nb:1\r\n", []string{a, b}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refs, err := ParseList("images.list", iotest.OneByteReader(strings.NewReader(c.in)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range refs {
				got = append(got, r.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParseListRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string // one for each line of the error
	}{
		{
			"all bad lines at once", "ok\nfoo bar\n\nquay.io/A # comment\nok:2\nb:",
			[]string{
				`images.list:2: "foo bar": white space inside`,
				`images.list:4: "quay.io/A": repository "A": upper case 'A' in "A", repositories are lower case`,
				`images.list:6: "b:": empty tag after the colon`,
			},
		},
		{"hash within a word", "nginx#1", []string{`images.list:1: "nginx#1": repository "nginx#1": character '#' is not allowed`}},
		{"mark in the middle", "a\n\xef\xbb\xbfb", []string{`images.list:2: "\ufeffb": repository "\ufeffb": character '\ufeff' is not allowed`}},
		{"UTF-16, little endian", "\xff\xfen\x00g\x00\n\x00a\x00", []string{"images.list:1: text in UTF-16, save it as UTF-8"}},
		{"UTF-16, big endian", "\xfe\xff\x00n\x00\n", []string{"images.list:1: text in UTF-16, save it as UTF-8"}},
		{
			"long lines", strings.Repeat("x", maxListLine+1) + "\nb c\n" + strings.Repeat("y", 3*maxListLine),
			[]string{
				"images.list:1: line of more than 4096 bytes", `images.list:2: "b c": white space inside`,
				"images.list:3: line of more than 4096 bytes",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			refs, err := ParseList("images.list", strings.NewReader(c.in))
			if err == nil {
				t.Fatalf("got %v, want an error", refs)
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", err, strings.Join(c.want, "\n"))
			}
			if line := (*LineError)(nil); !errors.As(err, &line) || line.File != "images.list" {
				t.Errorf("%v is no LineError", err)
			}
		})
	}
}

func TestParseListReportsReadError(t *testing.T) {
	disk := errors.New("disk on fire")
	_, err := ParseList("images.list", iotest.TimeoutReader(strings.NewReader("a\nb\n")))
	if !errors.Is(err, iotest.ErrTimeout) || !strings.HasPrefix(err.Error(), "images.list:3: ") {
		t.Errorf("got %v, want a timeout in line 3", err)
	}
	if _, err = ParseList("images.list", iotest.ErrReader(disk)); !errors.Is(err, disk) {
		t.Errorf("got %v, want %v", err, disk)
	}
}

func TestParseListLimits(t *testing.T) {
	lines := func(n int, line string) *strings.Reader { return strings.NewReader(strings.Repeat(line, n)) }
	if _, err := ParseList("l", lines(maxListLines, "\n")); err != nil {
		t.Errorf("largest list: %v", err)
	}
	if _, err := ParseList("l", lines(maxListLines+1, "\n")); err == nil || err.Error() != "l:1000001: more than 1000000 lines" {
		t.Errorf("one line too many: %v", err)
	}
	_, err := ParseList("l", lines(maxListErrors*2, "A\n"))
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != maxListErrors+1 {
		t.Errorf("%d lines of errors, want %d", n, maxListErrors+1)
	}
}

func TestUniqueKeepsTheFirst(t *testing.T) {
	refs, err := ParseList("l", strings.NewReader("b\na\nb:latest\na:2\na"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(Unique(refs)); got != fmt.Sprint([]Reference{refs[0], refs[1], refs[3]}) {
		t.Errorf("got %s", got)
	}
}

func FuzzParseListNeverPanics(f *testing.F) {
	f.Add([]byte("a\nb:1 # x\r\n\n#"))
	f.Add([]byte("\xef\xbb\xbfa"))
	f.Add([]byte("\xff\xfea\x00"))
	f.Add([]byte(strings.Repeat("x", maxListLine+9) + "\ny"))
	f.Fuzz(func(t *testing.T, list []byte) {
		refs, err := ParseList("l", strings.NewReader(string(list)))
		if err != nil {
			if line := (*LineError)(nil); refs != nil || !errors.As(err, &line) {
				t.Fatalf("%d references and %v", len(refs), err)
			}
			return
		}
		var again strings.Builder
		for _, r := range refs {
			again.WriteString(r.String() + "\n")
		}
		if got, err := ParseList("l", strings.NewReader(again.String())); err != nil || !slices.Equal(got, refs) {
			t.Fatalf("%q reads %v, then %v, %v", list, refs, got, err)
		}
	})
}
