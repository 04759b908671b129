package registry

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/durable"
)

const (
	// keepSize is the size above which it is kept where an upload stands, in bytes. What is no larger is sent again.
	keepSize = 4 << 20
	// keptFor is how long that is of use: registries clear uploads that nobody finishes, CNCF distribution after a week.
	keptFor = 7 * 24 * time.Hour

	uploadsDir    = "uploads"
	uploadVersion = 1
	maxUploadFile = 1 << 20 // bytes of a file that are read
)

// uploadFile is what is kept of an upload, in uploads/<hash>.json of [Options.StateDir].
type uploadFile struct {
	uploadKey
	// Location is the URL of the session. Who has it may be able to write to it.
	Location string `json:"location"`
	Marks    marks  `json:"marks"`
}

// uploadKey says which upload it is.
type uploadKey struct {
	Version    int    `json:"version"`
	Host       string `json:"host"`
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	Size       int64  `json:"size"`
}

// keptUpload is the file in which it is kept where one upload stands. What cannot be written is not kept: that costs a
// later run some time, and this one nothing.
type keptUpload struct {
	path string

	mu sync.Mutex
	f  uploadFile
}

// keepUpload returns the file for the upload of d to a repository, as an earlier process may have left it, or nil when
// nothing is kept.
func (c *Client) keepUpload(to oci.Repository, d oci.Descriptor) *keptUpload {
	if c.opts.StateDir == "" {
		return nil
	}
	dir := filepath.Join(c.opts.StateDir, uploadsDir)
	c.sweepOnce.Do(func() { sweepUploads(dir, c.clock.now().Add(-keptFor)) })
	sum := sha256.Sum256([]byte(to.Host + "\n" + to.Path + "\n" + d.Digest.String()))
	k := &keptUpload{path: filepath.Join(dir, fmt.Sprintf("%x.json", sum[:16]))}
	key := uploadKey{Version: uploadVersion, Host: to.Host, Repository: to.Path, Digest: d.Digest.String(), Size: d.Size}
	raw, err := durable.ReadFile(k.path, maxUploadFile)
	if err != nil || json.Unmarshal(raw, &k.f) != nil || k.f.uploadKey != key {
		k.f = uploadFile{uploadKey: key}
	}
	return k
}

// sweepUploads removes what was left before old.
func sweepUploads(dir string, old time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil { // there is none
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(old) {
			_ = os.Remove(filepath.Join(dir, e.Name())) // it does no harm where it is
		}
	}
}

// session returns the session that an earlier process has left, or nil.
func (k *keptUpload) session(c *Client) *upload {
	k.mu.Lock()
	defer k.mu.Unlock()
	location, err := url.Parse(k.f.Location)
	if err != nil || location.Host == "" || location.Scheme != "http" && location.Scheme != "https" {
		return nil
	}
	h, err := c.host(k.f.Host)
	if err != nil {
		return nil
	}
	return &upload{h: h, repo: oci.Repository{Host: k.f.Host, Path: k.f.Repository}, location: location}
}

func (k *keptUpload) marks() marks {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.f.Marks
}

// setLocation keeps where the session is.
func (k *keptUpload) setLocation(u *url.URL) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if text := u.String(); text != k.f.Location {
		k.f.Location = text
		k.write()
	}
}

// setMarks keeps the marks of the content.
func (k *keptUpload) setMarks(m marks) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.f.Marks = append(marks(nil), m...)
	if k.f.Location != "" {
		k.write()
	}
}

// write replaces the file, which only its owner can read. It is not synced to the disk: a file that a loss of power
// garbles is none. The caller holds k.mu.
func (k *keptUpload) write() {
	raw, err := json.Marshal(k.f)
	if err != nil {
		return
	}
	if os.MkdirAll(filepath.Dir(k.path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(k.path), "*"+durable.TempSuffix) // with mode 0600
	if err != nil {
		return
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), k.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

// remove forgets the upload.
func (k *keptUpload) remove() {
	_ = os.Remove(k.path) // it may not be there, and if it stays, its session is gone
}
