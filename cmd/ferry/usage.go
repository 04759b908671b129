package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	usageWidth = 120 // columns that the help fills
	usageFlags = 34  // columns of the flags at the most, before what they do
)

// setUsage makes the help of cmd and of what is below it tell flags in lines that fit on a screen.
func setUsage(cmd *cobra.Command) {
	cobra.AddTemplateFunc("flagLines", flagLines)
	text := strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages | trimTrailingWhitespaces", " | flagLines")
	cmd.SetUsageTemplate(text)
}

// flagLines returns the lines of the help that tell the flags in set.
func flagLines(set *pflag.FlagSet) string {
	var names, usages []string
	width := 0
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, usage := flagUsage(f)
		names, usages = append(names, name), append(usages, usage)
		if len(name) <= usageFlags {
			width = max(width, len(name))
		}
	})
	var b strings.Builder
	margin := strings.Repeat(" ", width+3)
	for i, name := range names {
		line := name
		if len(name) > width {
			b.WriteString(line + "\n")
			line = ""
		}
		line += strings.Repeat(" ", len(margin)-len(line)) + strings.Join(wrapWords(usages[i], usageWidth-len(margin)), "\n"+margin)
		b.WriteString(line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// flagUsage returns how a flag is given, and what it does.
func flagUsage(f *pflag.Flag) (name, usage string) {
	name = "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	value, usage := pflag.UnquoteUsage(f)
	if value == "string" {
		value = "WORD" // one of a few that the usage names
	}
	isBool := f.Value.Type() == "bool"
	switch {
	case isBool:
	case f.NoOptDefVal != "":
		name += "[=" + value + "]"
	case value != "":
		name += " " + value
	}
	if def := f.DefValue; def != "" && def != "[]" && def != "0" && def != "0s" && !(isBool && def == "false") {
		usage += " (default " + def + ")"
	}
	return name, usage
}

// wrapWords divides text into lines of at most width bytes, longer words alone in theirs.
func wrapWords(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
