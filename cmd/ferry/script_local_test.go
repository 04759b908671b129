package main

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ferry-oci/ferry/oci/ocitest"
)

// saved returns test images and the names under which they are saved: IMAGE or IMAGE=NAME[,NAME...]. With single, the first
// platform of an index stands for it.
func saved(args []string, single bool) []ocitest.Saved {
	var list []ocitest.Saved
	for _, arg := range args {
		image, names, named := strings.Cut(arg, "=")
		g := testImages[image].graph()
		if single && len(g.Children) > 0 {
			g = g.Children[0]
		}
		s := ocitest.Saved{Graph: g}
		if named {
			s.Names = strings.Split(names, ",")
		}
		list = append(list, s)
	}
	return list
}

// save FORM FILE IMAGE[=NAME,...]... writes a docker-archive, FORM being old, skopeo or crane.
func (s *story) save(ts *testscript.TestScript, args []string) error {
	f, err := os.Create(ts.MkAbs(args[1]))
	if err != nil {
		return err
	}
	ocitest.DockerSave(f, ocitest.DockerForm(args[0]), saved(args[2:], true)...)
	return f.Close()
}

// layout DIR IMAGE=NAME,... writes an image layout.
func (s *story) layout(ts *testscript.TestScript, args []string) error {
	ocitest.WriteLayout(s.tb, ts.MkAbs(args[0]), saved(args[1:], false)...)
	return nil
}

// folder DIR IMAGE writes what skopeo copy --all does to dir:DIR.
func (s *story) folder(ts *testscript.TestScript, args []string) error {
	ocitest.WriteFolder(s.tb, ts.MkAbs(args[0]), testImages[args[1]].graph())
	return nil
}
