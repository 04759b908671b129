// Package ferry_test holds the rooms of the project to the walls between them.
package ferry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ferry-oci/ferry"

// arrows has, for each room, the rooms that it may import besides itself. Folders inside of a room belong to it.
// Tests may import the same and the testHelpers.
var arrows = map[string][]string{
	"oci":       {},
	"compress":  {},
	"registry":  {"oci"},
	"bundle":    {"oci", "compress"},
	"cmd/ferry": {"oci", "compress", "registry", "bundle"},
}

// testHelpers are imported by tests alone, and by each other. They may import their own room and oci.
var testHelpers = []string{"oci/ocitest", "registry/registrytest", "registry/harbor/harbortest"}

// libraries are the rooms that neither print, nor read the environment, nor exit.
var libraries = []string{"oci", "compress", "registry", "bundle"}

// forbidden are the calls and variables that a library does not use, besides everything of packages log and log/slog.
var forbidden = map[string][]string{
	"fmt": {"Print", "Printf", "Println"},
	"os": {
		"Chdir", "Environ", "Exit", "ExpandEnv", "Getenv", "LookupEnv", "Setenv", "Unsetenv",
		"UserCacheDir", "UserConfigDir", "UserHomeDir", "Stdin", "Stdout", "Stderr",
	},
	"syscall": {"Environ", "Exit", "Getenv", "Setenv"},
}

// goPackage is what `go list -json` tells of a package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestArrows(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			packages := listPackages(t, goos)
			for _, p := range packages {
				for _, problem := range wrongArrows(p) {
					t.Error(problem)
				}
			}
			if len(packages) < len(arrows) {
				t.Errorf("%d packages were looked at, and there are %d rooms", len(packages), len(arrows))
			}
		})
	}
}

func listPackages(t *testing.T, goos string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// wrongArrows returns the imports of p that arrows does not have.
func wrongArrows(p goPackage) []string {
	from := local(p.ImportPath)
	if from == "." {
		return nil // this test
	}
	if roomOf(from) == "" {
		return []string{from + " is in no room"}
	}
	var problems []string
	refuse := func(imports []string, allowed func(from, to string) bool, verb string) {
		for _, path := range imports {
			if to := local(path); to != "" && !allowed(from, to) {
				problems = append(problems, from+" "+verb+" "+to)
			}
		}
	}
	refuse(p.Imports, allowed, "imports")
	refuse(slices.Concat(p.TestImports, p.XTestImports), allowedInTest, "imports for its tests")
	return problems
}

// allowed reports whether the package in folder from may import the one in folder to.
func allowed(from, to string) bool {
	room, other := roomOf(from), roomOf(to)
	switch {
	case isTestHelper(from):
		return other == room || other == "oci"
	case isTestHelper(to):
		return false
	}
	return other != "" && (other == room || slices.Contains(arrows[room], other))
}

func allowedInTest(from, to string) bool { return isTestHelper(to) || allowed(from, to) }

// local returns the folder of a package of this module, and "" for any other package.
func local(path string) string {
	path = strings.TrimSuffix(path, "_test")
	if path == module {
		return "."
	}
	folder, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	return folder
}

// roomOf returns the room that folder is or lies in, and "" without one.
func roomOf(folder string) string {
	for room := range arrows {
		if folder == room || strings.HasPrefix(folder, room+"/") {
			return room
		}
	}
	return ""
}

func isTestHelper(folder string) bool { return slices.Contains(testHelpers, folder) }

func TestWrongArrowsAreFound(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		inTest   bool
		wrong    bool
	}{
		{"oci", "registry", false, true},
		{"oci", "compress", false, true},
		{"compress", "oci", false, true},
		{"registry", "oci", false, false},
		{"registry", "bundle", false, true},
		{"registry/harbor", "oci", false, false},
		{"registry/harbor", "registry", false, false},
		{"registry", "registry/harbor", false, false},
		{"registry/harbor", "compress", false, true},
		{"bundle", "registry", false, true},
		{"bundle", "compress/gzip", false, false},
		{"bundle", "cmd/ferry/internal", false, true},
		{"bundle", "cmd/ferry/internal", true, true},
		{"bundle", "registry", true, true},
		{"bundle", "registry/registrytest", true, false},
		{"bundle", "registry/registrytest", false, true},
		{"cmd/ferry", "bundle", false, false},
		{"cmd/ferry", "oci/ocitest", false, true},
		{"registry/registrytest", "registry", false, false},
		{"registry/registrytest", "oci/ocitest", false, false},
		{"registry/registrytest", "bundle", false, true},
		{"oci", "ocitools", false, true},
		{"util", "oci", false, true},
	} {
		p := goPackage{ImportPath: module + "/" + tc.from, Imports: []string{"fmt", module + "/" + tc.to}}
		if tc.inTest {
			p.Imports, p.XTestImports = nil, p.Imports
		}
		if got := wrongArrows(p); (len(got) > 0) != tc.wrong {
			t.Errorf("%s to %s (in its tests: %v): got %q", tc.from, tc.to, tc.inTest, got)
		}
	}
}

func TestLibrariesDoNotPrintReadTheEnvironmentOrExit(t *testing.T) {
	for _, room := range libraries {
		files := 0
		err := filepath.WalkDir(room, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && (entry.Name() == "testdata" || isTestHelper(filepath.ToSlash(path))) {
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			files++
			found, err := forbiddenUses(path, nil)
			for _, problem := range found {
				t.Error(problem)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if files == 0 {
			t.Errorf("%s has no source", room)
		}
	}
}

// forbiddenUses returns what the Go file path, or src if that is not nil, uses of forbidden.
func forbiddenUses(path string, src any) ([]string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	report := func(at ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", set.Position(at.Pos()), what))
	}
	names := map[string]string{} // of imports in this file, to their paths
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
		if path == "log" || path == "log/slog" || (name == "." && forbidden[path] != nil) {
			report(spec, "import of "+path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && slices.Contains(forbidden[names[x.Name]], n.Sel.Name) {
				report(n, names[x.Name]+"."+n.Sel.Name)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
				report(n, f.Name)
			}
		}
		return true
	})
	return found, nil
}

func TestForbiddenUsesAreFound(t *testing.T) {
	for _, tc := range []struct{ name, src, want string }{
		{"exit", "import \"os\"\nfunc f() { os.Exit(1) }", "x.go:2:12: os.Exit"},
		{"environment by another name", "import env \"os\"\nvar v = env.Getenv(\"HOME\")", "x.go:2:9: os.Getenv"},
		{"standard error as a value", "import \"os\"\nvar w = os.Stderr", "x.go:2:9: os.Stderr"},
		{"log", "import \"log\"\nfunc f() { log.Println() }", "x.go:1:18: import of log"},
		{"dot import", "import . \"os\"\nfunc f() { Exit(1) }", "x.go:1:18: import of os"},
		{"built-in", "func f() { println() }", "x.go:1:22: println"},
		{"print", "import \"fmt\"\nfunc f() { fmt.Println() }", "x.go:2:12: fmt.Println"},
		{"print into a writer", "import \"fmt\"\nfunc f() { fmt.Fprintln(nil) }", ""},
		{"method of this name", "func f(os interface{ Exit(int) }) { os.Exit(1) }", ""},
	} {
		found, err := forbiddenUses("x.go", "package x;"+tc.src)
		if got := strings.Join(found, "\n"); err != nil || got != tc.want {
			t.Errorf("%s: got %q, %v; want %q", tc.name, got, err, tc.want)
		}
	}
}
