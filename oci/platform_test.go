package oci

import "testing"

func TestParsePlatform(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"linux/amd64", "linux/amd64"},
		{"linux/arm64/v8", "linux/arm64/v8"},
		{"linux/arm64/8", "linux/arm64/v8"},
		{"linux/arm64", "linux/arm64"},
		{"Linux/x86_64", "linux/amd64"},
		{"linux/x86-64/v3", "linux/amd64/v3"},
		{"linux/aarch64", "linux/arm64"},
		{"linux/armhf", "linux/arm/v7"},
		{"linux/armel", "linux/arm/v6"},
		{"linux/arm/7", "linux/arm/v7"},
		{"linux/i386", "linux/386"},
		{"macos/arm64", "darwin/arm64"},
		{"windows/amd64", "windows/amd64"},
		{"linux/ppc64le", "linux/ppc64le"},
	} {
		t.Run(c.in, func(t *testing.T) {
			p, err := ParsePlatform(c.in)
			if got := FormatPlatform(p); err != nil || got != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
	for _, in := range []string{
		"", "linux", "arm64", "linux/", "/amd64", "linux//v7", "linux/arm/v7/x", "linux/amd 64", "li*/amd64", "linux,amd64/x",
		"unknown/unknown", "linux/\x1b[31m",
	} {
		t.Run("refuses "+in, func(t *testing.T) {
			if p, err := ParsePlatform(in); err == nil {
				t.Errorf("got %+v, want an error", p)
			}
		})
	}
}

func TestFormatPlatform(t *testing.T) {
	for _, c := range []struct {
		want string
		in   Platform
	}{
		{"linux/arm64/v8", Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}},
		{"unknown/unknown", Platform{OS: "unknown", Architecture: "unknown"}},
		{"unknown/unknown", Platform{}},
		{"windows/amd64", Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"}},
		{"li_nux/__2J/a_b", Platform{OS: "li\nnux", Architecture: "\x1b[2J", Variant: "a/b"}},
	} {
		if got := FormatPlatform(c.in); got != c.want {
			t.Errorf("FormatPlatform(%+v) = %s, want %s", c.in, got, c.want)
		}
	}
}

func TestMatchPlatform(t *testing.T) {
	for _, c := range []struct {
		want string
		have Platform
		ok   bool
	}{
		{"linux/amd64", Platform{OS: "linux", Architecture: "amd64"}, true},
		{"linux/amd64", Platform{OS: "linux", Architecture: "x86_64"}, true},
		{"linux/amd64", Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}, true},
		{"linux/amd64/v1", Platform{OS: "linux", Architecture: "amd64"}, true},
		{"linux/amd64/v3", Platform{OS: "linux", Architecture: "amd64"}, false},
		{"linux/amd64", Platform{OS: "linux", Architecture: "arm64"}, false},
		{"linux/amd64", Platform{OS: "windows", Architecture: "amd64"}, false},
		{"linux/arm64", Platform{OS: "linux", Architecture: "arm64"}, true},
		{"linux/arm64", Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, true},
		{"linux/arm64", Platform{OS: "linux", Architecture: "aarch64", Variant: "8"}, true},
		{"linux/arm64/v8", Platform{OS: "linux", Architecture: "arm64"}, true},
		{"linux/arm64/v8", Platform{OS: "linux", Architecture: "arm64", Variant: "v9"}, false},
		{"linux/arm64", Platform{OS: "linux", Architecture: "arm", Variant: "v8"}, false},
		{"linux/arm", Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, true},
		{"linux/arm", Platform{OS: "linux", Architecture: "arm"}, true},
		{"linux/arm/v7", Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, true},
		{"linux/arm/v7", Platform{OS: "linux", Architecture: "arm"}, true},
		{"linux/arm/v7", Platform{OS: "linux", Architecture: "armhf"}, true},
		{"linux/arm/v7", Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, false},
		{"windows/amd64", Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.1"}, true},
		{"linux/amd64", Platform{OS: "unknown", Architecture: "unknown"}, false},
		{"linux/amd64", Platform{}, false},
	} {
		t.Run(c.want+" for "+FormatPlatform(c.have), func(t *testing.T) {
			want, err := ParsePlatform(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if got := MatchPlatform(want, c.have); got != c.ok {
				t.Errorf("got %v, want %v", got, c.ok)
			}
		})
	}
}
