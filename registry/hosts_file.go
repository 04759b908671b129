package registry

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/ferry-oci/ferry/oci/durable"
)

// hostsFileName is the file in which containerd is told how a registry is reached. What is in it is described in
// https://github.com/containerd/containerd/blob/v2.1.3/docs/hosts.md
const hostsFileName = "hosts.toml"

// maxHostsFile is the largest hosts.toml that is read, in bytes.
const maxHostsFile = 1 << 20

// hostsFile is a parsed hosts.toml: the places where the images of one registry are, in the order in which they are
// asked.
type hostsFile struct {
	path   string
	hosts  []hostEntry
	server *hostEntry // that the file names as the last one; nil when it is the registry itself
	own    TLSFiles   // what the top of the file says of the registry itself
}

// hostEntry is one place.
type hostEntry struct {
	url      *url.URL // up to the path under which repositories are, such as https://mirror.local/v2
	resolves bool     // asked what a tag names
	pulls    bool     // asked for what a digest names
	header   http.Header
	tls      TLSFiles
}

// hostTable is a table of the file as it stands there.
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
}

// readHostsFile returns what the file says of the registry host, and nil when there is no such file.
func readHostsFile(path, host string) (*hostsFile, error) {
	raw, err := durable.ReadFile(path, maxHostsFile)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirrors: %w", err)
	}
	f, err := parseHostsFile(path, host, raw)
	if err != nil {
		return nil, fmt.Errorf("mirrors: %s: %w", path, err)
	}
	return f, nil
}

func parseHostsFile(path, host string, raw []byte) (*hostsFile, error) {
	var file struct {
		hostTable
		Server string               `toml:"server"`
		Host   map[string]hostTable `toml:"host"`
	}
	meta, err := toml.Decode(string(raw), &file)
	if err != nil {
		return nil, describeTOML(err)
	}
	f := &hostsFile{path: path}
	dir := filepath.Dir(path)
	var order []string // the file's own: toml tables are maps otherwise
	for _, key := range meta.Keys() {
		if len(key) >= 2 && key[0] == "host" && !slices.Contains(order, key[1]) {
			order = append(order, key[1])
		}
	}
	for _, name := range order {
		e, err := file.Host[name].entry(dir, name)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", withoutUser(name), err)
		}
		f.hosts = append(f.hosts, e)
	}
	server := file.Server
	if server == "" {
		server = "https://" + host
	}
	e, err := file.hostTable.entry(dir, server)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", withoutUser(server), err)
	}
	if sameRegistry(e.url.Host, host) {
		f.own = e.tls
	} else {
		f.server = &e
	}
	return f, nil
}

// withoutUser returns a URL, which need not be a valid one, without a user and a password.
func withoutUser(s string) string { return s[strings.LastIndexByte(s, '@')+1:] }

// describeTOML returns where a file cannot be parsed. The line itself is not repeated: headers may hold secrets.
func describeTOML(err error) error {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
	}
	return errors.New("a field is not of the type that it should have")
}

// sameRegistry reports whether addr serves the registry that references call host.
func sameRegistry(addr, host string) bool {
	addr, host = strings.ToLower(addr), normalHost(host)
	return normalHost(addr) == host || strings.TrimSuffix(addr, ":443") == strings.TrimSuffix(host, ":443")
}

// entry returns the table as the description of the place name.
func (t hostTable) entry(dir, name string) (hostEntry, error) {
	e := hostEntry{resolves: true, pulls: true, header: http.Header{}}
	if t.Capabilities != nil {
		e.resolves = slices.Contains(t.Capabilities, "resolve")
		e.pulls = slices.Contains(t.Capabilities, "pull")
	}
	if !strings.HasPrefix(name, "http") { // as containerd has it
		name = "https://" + name
	}
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return e, errors.New("http://HOST or https://HOST is needed")
	}
	root := ""
	if u.Path != "" {
		root = strings.TrimSuffix(path.Clean(u.Path), "/")
	}
	if !t.OverridePath && !strings.HasSuffix(root, "/v2") {
		root += "/v2"
	}
	e.url = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: root}
	for _, key := range slices.Sorted(maps.Keys(t.Header)) {
		values, err := stringsOf(t.Header[key])
		if err != nil {
			return e, fmt.Errorf("header %s: %w", key, err)
		}
		e.header[http.CanonicalHeaderKey(key)] = values
	}
	e.tls, err = t.tlsFiles(dir)
	return e, err
}

// tlsFiles reads the certificates that the table names; their paths are relative to dir.
func (t hostTable) tlsFiles(dir string) (TLSFiles, error) {
	files := TLSFiles{SkipVerify: t.SkipVerify}
	place := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	cas, err := stringsOf(t.CA)
	if err != nil {
		return files, fmt.Errorf("ca: %w", err)
	}
	for _, name := range cas {
		if err := files.addCA(place(name)); err != nil {
			return files, err
		}
	}
	pairs, err := pairsOf(t.Client)
	if err != nil {
		return files, fmt.Errorf("client: %w", err)
	}
	for _, pair := range pairs {
		if err := files.addPair(place(pair[0]), place(pair[1])); err != nil {
			return files, err
		}
	}
	return files, nil
}

// stringsOf returns one string, or a list of them, as a list.
func stringsOf(value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var all []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("a text, or a list of texts, is needed")
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, errors.New("a text, or a list of texts, is needed")
}

// pairsOf returns the client certificates and their keys, which are in one file where only one is named: "file",
// ["file", "file"], or [["certificate", "key"], ...].
func pairsOf(value any) ([][2]string, error) {
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	var pairs [][2]string
	for _, item := range list {
		names, err := stringsOf(item)
		if err != nil || len(names) == 0 || len(names) > 2 {
			return nil, errors.New(`"FILE" or [["CERTIFICATE", "KEY"]] is needed`)
		}
		if len(names) == 1 || names[1] == "" {
			names = []string{names[0], names[0]}
		}
		pairs = append(pairs, [2]string{names[0], names[1]})
	}
	return pairs, nil
}

// tlsOf returns what the file says of the registry host itself.
func (f *hostsFile) tlsOf(host string) TLSFiles {
	t := f.own
	for _, e := range f.hosts {
		if sameRegistry(e.url.Host, host) {
			t.add(e.tls)
		}
	}
	return t
}
