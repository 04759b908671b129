package registry

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ferry-oci/ferry/oci/durable"
)

// TLSFiles are the certificates of one host that lie in files.
type TLSFiles struct {
	CAs          []*x509.Certificate // to trust, in addition to those of the system
	Certificates []tls.Certificate   // that prove who we are, with their keys
	SkipVerify   bool                // containerd's hosts.toml says that the host's certificate is not to be checked
}

// AddTo adds what the files hold to the options of a host.
func (t TLSFiles) AddTo(o *HostOptions) {
	o.CAs = append(o.CAs[:len(o.CAs):len(o.CAs)], t.CAs...)
	o.Certificates = append(o.Certificates[:len(o.Certificates):len(o.Certificates)], t.Certificates...)
	o.InsecureSkipVerify = o.InsecureSkipVerify || t.SkipVerify
}

func (t *TLSFiles) add(more TLSFiles) {
	t.CAs = append(t.CAs, more.CAs...)
	t.Certificates = append(t.Certificates, more.Certificates...)
	t.SkipVerify = t.SkipVerify || more.SkipVerify
}

// DefaultCertDirs returns the folders in which Podman, Docker and containerd keep certificates, each with one folder a
// host in it, for a user with the given home directory, which may be empty, and environment.
func DefaultCertDirs(getenv func(string) string, home string) []string {
	var dirs []string
	config := getenv("XDG_CONFIG_HOME")
	if config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	if config != "" {
		dirs = append(dirs, filepath.Join(config, "containers", "certs.d"))
	}
	dirs = append(dirs, "/etc/containers/certs.d", "/etc/docker/certs.d")
	if config != "" {
		dirs = append(dirs, filepath.Join(config, "docker", "certs.d")) // Docker without root
	}
	return append(dirs, containerdCertDir)
}

const containerdCertDir = "/etc/containerd/certs.d"

// FindCertDir returns the first folder of host in dirs, or nothing. The host is as references name it.
func FindCertDir(host string, dirs []string) string {
	for _, dir := range dirs {
		for _, name := range hostFolders(host) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				return path
			}
		}
	}
	return ""
}

// hostFolders returns the names that a host's folder may have; not every file system takes a colon.
func hostFolders(host string) []string {
	if strings.ContainsAny(host, `/\`) || strings.HasPrefix(host, ".") {
		return nil
	}
	name, port, ok := strings.Cut(host, ":")
	if !ok {
		return []string{host}
	}
	return []string{host, name + "_" + port + "_", name + port}
}

// ReadCertDir reads the folder dir of the given host. As with Docker and Podman, *.crt are authorities, and *.cert with
// its *.key proves who we are. As with containerd, a hosts.toml names them instead, in its part for that host; its other
// hosts are passed over. An empty host takes no hosts.toml. Errors name the file.
func ReadCertDir(dir, host string) (TLSFiles, error) {
	if host != "" {
		hosts, err := readHostsFile(filepath.Join(dir, hostsFileName), host)
		if err != nil {
			return TLSFiles{}, err
		}
		if hosts != nil {
			return hosts.tlsOf(host), nil
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return TLSFiles{}, fmt.Errorf("certificates: %w", err)
	}
	var t TLSFiles
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch stem := strings.TrimSuffix(path, filepath.Ext(path)); filepath.Ext(path) {
		case ".crt":
			err = t.addCA(path)
		case ".cert":
			err = t.addPair(path, stem+".key")
		case ".key":
			if _, missing := os.Stat(stem + ".cert"); missing != nil {
				err = fmt.Errorf("%s: there is no %s.cert beside this key", path, filepath.Base(stem))
			}
		}
		if err != nil {
			return TLSFiles{}, err
		}
	}
	return t, nil
}

// maxCertificateFile is the largest certificate file that is read, in bytes. A bundle of all public authorities has a
// quarter of a megabyte.
const maxCertificateFile = 8 << 20

func (t *TLSFiles) addCA(path string) error {
	raw, err := durable.ReadFile(path, maxCertificateFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	cas, err := ParseCAs(raw)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", path, err)
	}
	t.CAs = append(t.CAs, cas...)
	return nil
}

// addPair adds a client certificate and its key, which may lie in one file.
func (t *TLSFiles) addPair(cert, key string) error {
	rawCert, err := durable.ReadFile(cert, maxCertificateFile)
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	rawKey, err := durable.ReadFile(key, maxCertificateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("client certificate %s: its key %s is not there", cert, key)
	}
	if err != nil {
		return fmt.Errorf("key of the client certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(rawCert, rawKey)
	if err != nil {
		return fmt.Errorf("client certificate %s with the key %s: %w", cert, key, err)
	}
	t.Certificates = append(t.Certificates, pair)
	return nil
}

// ParseCAs returns the certificates of a PEM file. Other blocks in it are passed over; a file without a certificate is
// an error, and so is a certificate that cannot be read.
func ParseCAs(raw []byte) ([]*x509.Certificate, error) {
	var cas []*x509.Certificate
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(cas)+1, err)
		}
		cas = append(cas, ca)
	}
	if len(cas) == 0 {
		return nil, errors.New("no PEM certificate in it")
	}
	return cas, nil
}

// isAbsent reports whether err says that there is no such file, also where a file stands in the place of a folder, as
// with HOME=/dev/null.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
