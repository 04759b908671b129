package main

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// lines FILE LINE... writes a file. Unlike those of the script itself its lines can have the addresses of registries.
func (s *story) lines(ts *testscript.TestScript, args []string) error {
	return os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\n")+"\n"), 0o644)
}
