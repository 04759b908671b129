package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/bundle"
)

// withFlags say what is to lie beside a bundle, so that the far side can read it.
type withFlags struct {
	platforms []string
	from      string // folder of the binaries; empty: that of this one
}

func (f *withFlags) add(set *pflag.FlagSet) {
	set.StringSliceVar(&f.platforms, "with", nil,
		"put ferry for these `PLATFORMS` beside the bundle, such as linux/amd64,windows/amd64, and a README.txt")
	set.StringVar(&f.from, "with-from", "", "take the binaries of --with from `DIR`, as make release writes it (default: where this ferry lies)")
}

// companion is a file that lies beside a bundle.
type companion struct {
	name string
	path string // where it is copied from; empty: text is what is in it
	text []byte
	size int64
	sum  string // sha256 in hex
}

// withReadme is the README.txt beside a bundle. It is the same for all bundles of a ferry, so that several can lie in one
// folder.
//
//go:embed with_readme.txt
var withReadme []byte

// readmeName is the name of withReadme, readmeSuffix what follows the bundle's name when another file has it.
const readmeName, readmeSuffix = "README.txt", ".README.txt"

// companions finds what the flags put beside the bundle output, and that it can lie there.
func (f *withFlags) companions(output string) ([]companion, error) {
	if f.platforms == nil {
		if f.from != "" {
			return nil, usagef("--with-from: --with PLATFORMS is missing")
		}
		return nil, nil
	}
	if output == "-" {
		return nil, usagef("--with: nothing lies beside stdout")
	}
	var all []companion
	var errs []error
	for _, platform := range f.platforms {
		c, err := f.binary(strings.TrimSpace(platform))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.ContainsFunc(all, func(o companion) bool { return o.name == c.name }) {
			all = append(all, c)
		}
		if !mayLie(output, c) {
			errs = append(errs, fmt.Errorf("--with %s: %s is there with other content: move it away, or choose another folder",
				platform, filepath.Join(filepath.Dir(output), c.name)))
		}
	}
	readme := companion{name: readmeName, text: withReadme, size: int64(len(withReadme)), sum: sumOf(withReadme)}
	if !mayLie(output, readme) {
		readme.name = filepath.Base(output) + readmeSuffix
	}
	return append(all, readme), errors.Join(errs...)
}

// isPlatform is a platform as --with takes it.
var isPlatform = regexp.MustCompile(`\A[a-z0-9]+/[a-z0-9]+\z`)

// binary finds ferry for a platform.
func (f *withFlags) binary(platform string) (companion, error) {
	if !isPlatform.MatchString(platform) {
		return companion{}, usagef("--with %.50q: OS/ARCHITECTURE is needed, as in linux/amd64", platform)
	}
	c := companion{name: "ferry-" + strings.ReplaceAll(platform, "/", "-")}
	if strings.HasPrefix(platform, "windows/") {
		c.name += ".exe"
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	dir := f.from
	if dir == "" {
		dir = filepath.Dir(self)
	}
	c.path = filepath.Join(dir, c.name)
	if _, err := os.Stat(c.path); platform == runtime.GOOS+"/"+runtime.GOARCH && (f.from == "" || errors.Is(err, fs.ErrNotExist)) {
		c.path = self
	}
	if c.size, c.sum, err = sumFile(c.path); err != nil {
		return c, fmt.Errorf("--with %s: %s: %w; `make release` builds it in dist/: --with-from dist", platform, c.path, bareError(err))
	}
	if c.path == self {
		return c, nil
	}
	if err := checkProgram(c.path, platform); err != nil {
		return c, fmt.Errorf("--with %s: %s: %w", platform, c.path, err)
	}
	if err := checkListed(filepath.Join(dir, "SHA256SUMS"), c); err != nil {
		return c, fmt.Errorf("--with %s: %w", platform, err)
	}
	return c, nil
}

// sumFile returns the size and the sha256 of a file.
func sumFile(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// sumOf returns the sha256 of text in hex.
func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// checkListed returns an error when there is a list of checksums that has not this one for c.
func checkListed(list string, c companion) error {
	sums, err := readSumList(list)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", list, bareError(err))
	case sums[c.name] == "":
		return fmt.Errorf("%s does not name %s", list, c.name)
	case sums[c.name] != c.sum:
		return fmt.Errorf("%s has sha256 %s, and %s says %s", c.path, c.sum, list, sums[c.name])
	}
	return nil
}

// maxSumList is the size in bytes of the largest list of checksums that is read.
const maxSumList = 1 << 20

// readSumList returns the sums of a list as sha256sum writes it, by name.
func readSumList(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(f, maxSumList))
	for lines.Scan() {
		if sum, name, ok := strings.Cut(lines.Text(), " "); ok && len(name) > 1 {
			sums[name[1:]] = strings.ToLower(sum) // a blank or a star is before the name
		}
	}
	return sums, lines.Err()
}

// mayLie reports whether c can be written beside output: nothing is there, or the same file, or the one that an earlier bundle of
// that name brought along.
func mayLie(output string, c companion) bool {
	_, sum, err := sumFile(filepath.Join(filepath.Dir(output), c.name))
	if errors.Is(err, fs.ErrNotExist) || sum == c.sum {
		return true
	}
	old, _ := readSumList(bundle.SumFile(output)) // without a list it is somebody's own
	return err == nil && old[c.name] == sum
}

// machines are the processors of programs by their names for Go.
var machines = map[string]struct {
	elf   elf.Machine
	pe    uint16
	macho macho.Cpu
}{
	"amd64": {elf.EM_X86_64, pe.IMAGE_FILE_MACHINE_AMD64, macho.CpuAmd64},
	"arm64": {elf.EM_AARCH64, pe.IMAGE_FILE_MACHINE_ARM64, macho.CpuArm64},
}

// checkProgram returns an error when the file is no program for the platform, as far as its head tells.
func checkProgram(path, platform string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	goos, arch, _ := strings.Cut(platform, "/")
	machine, known := machines[arch]
	var is bool
	switch goos {
	case "linux":
		var p *elf.File
		if p, err = elf.NewFile(f); err == nil {
			is = p.Machine == machine.elf
		}
	case "windows":
		var p *pe.File
		if p, err = pe.NewFile(f); err == nil {
			is = p.Machine == machine.pe
		}
	case "darwin":
		var p *macho.File
		if p, err = macho.NewFile(f); err == nil {
			is = p.Cpu == machine.macho
		}
	default:
		return nil
	}
	if err != nil || known && !is {
		return errors.New("not a program for that platform")
	}
	return nil
}

// companionSize returns how many bytes they take.
func companionSize(all []companion) (size int64) {
	for _, c := range all {
		size += c.size
	}
	return size
}

// writeCompanions puts files beside the bundle output and into its list of checksums. The function that it returns removes
// those that were not there before.
func writeCompanions(all []companion, output string, out *bundle.Output) (remove func(), err error) {
	var made []string
	remove = func() {
		for _, path := range made {
			_ = os.Remove(path) // it may be gone
		}
	}
	for _, c := range all {
		path := filepath.Join(filepath.Dir(output), c.name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			made = append(made, path)
		}
		if err := c.write(path); err != nil {
			remove()
			return nil, fmt.Errorf("--with: %w", err)
		}
		out.Beside(c.name, c.sum)
	}
	return remove, nil
}

// sayCompanions says what lies beside a bundle.
func sayCompanions(all []companion, std *stdio) {
	if len(all) == 0 {
		return
	}
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	std.say("  beside it lie %s (%s)", strings.Join(names, ", "), formatSize(companionSize(all)))
}

// write writes the file, which appears when it is whole.
func (c companion) write(path string) error {
	if _, sum, err := sumFile(path); err == nil && sum == c.sum {
		return nil
	}
	from := io.Reader(bytes.NewReader(c.text))
	mode := fs.FileMode(0o644)
	if c.path != "" {
		f, err := os.Open(c.path)
		if err != nil {
			return err
		}
		defer f.Close()
		from, mode = f, 0o755
	}
	return createWhole(path, mode, func(w io.Writer) error {
		h := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, h), from); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.sum {
			return fmt.Errorf("%s has changed meanwhile", c.path)
		}
		return nil
	})
}
