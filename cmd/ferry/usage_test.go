package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The help of every command tells each of its flags, in lines that fit.
func TestUsage(t *testing.T) {
	var out bytes.Buffer
	root := newRoot(&stdio{Out: &out, Err: &out})
	for _, cmd := range append([]*cobra.Command{root}, root.Commands()...) {
		out.Reset()
		cmd.InitDefaultHelpFlag()
		if err := cmd.Usage(); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, "--"+f.Name) {
				t.Errorf("%s: --%s is not told", cmd.Name(), f.Name)
			}
		})
		flags := false
		for line := range strings.Lines(text) {
			flags = flags || strings.HasPrefix(line, "Flags:")
			if n := len(strings.TrimRight(line, "\n")); flags && n > usageWidth {
				t.Errorf("%s: a line of %d columns: %s", cmd.Name(), n, line)
			}
			if strings.Contains(line, "[=true|false]") || strings.Contains(line, " string ") {
				t.Errorf("%s: %s", cmd.Name(), line)
			}
		}
	}
}

func TestFlagLines(t *testing.T) {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.BoolP("quiet", "q", false, "say nothing")
	set.Bool("check", true, "look at it")
	set.String("a-flag-with-a-name-as-long-as-a-line", "", "do as `SOMEBODY` says")
	set.String("level", "default", "fastest or default, "+strings.Repeat("word ", 20))
	want := strings.Join([]string{
		`      --a-flag-with-a-name-as-long-as-a-line SOMEBODY`,
		`                     do as SOMEBODY says`,
		`      --check        look at it (default true)`,
		`      --level WORD   fastest or default, ` + strings.TrimSpace(strings.Repeat("word ", 16)),
		`                     word word word word (default default)`,
		`  -q, --quiet        say nothing`,
	}, "\n")
	if got := flagLines(set); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
