package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci/durable"
)

// journalSuffix is what the name of the journal adds to the bundle's name, see FORMAT.md section 7.
const journalSuffix = ".journal"

const (
	journalFormat  = "ferry-journal"
	journalVersion = 1
	// maxJournal is the largest journal that is read, in bytes: as many frames as a file can have, in lines of 128 bytes.
	maxJournal = compress.MaxFrames * 128
)

// journalHead is the first line of a journal. Only with an equal one a writer goes on.
type journalHead struct {
	Format    string `json:"format"`
	Version   int    `json:"version"`
	Writer    string `json:"writer"`
	ContentID string `json:"contentID"`
	Options   string `json:"options"`
	Volume    int64  `json:"volume"`
	Digits    int    `json:"digits"`
}

// journalFrame is the line of a frame.
type journalFrame struct {
	End   int64  `json:"end"`
	Size  int64  `json:"size"`
	Plain int64  `json:"plain"`
	Sum   uint32 `json:"sum,omitempty"`
}

// journalVolume is the line of a volume.
type journalVolume struct {
	Number int    `json:"number"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// journal tells how far volumes have come.
type journal struct {
	head    journalHead
	frames  []compress.FrameEntry
	volumes []journalVolume // from the first, without gaps
}

// readJournal reads the journal at path: what of it makes sense, from its begin. Without a journal it returns one that is empty.
func readJournal(path string) (*journal, error) {
	j := &journal{}
	raw, err := durable.ReadFile(path, maxJournal)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, durable.ErrTooLarge):
		return j, nil
	case err != nil:
		return nil, err
	}
	line, raw, whole := bytes.Cut(raw, []byte("\n"))
	if !whole || json.Unmarshal(line, &j.head) != nil {
		return &journal{}, nil
	}
	for {
		if line, raw, whole = bytes.Cut(raw, []byte("\n")); !whole || !j.take(line) {
			return j, nil
		}
	}
}

// take takes the next line and reports whether it is one.
func (j *journal) take(line []byte) bool {
	var l struct {
		journalFrame
		journalVolume
	}
	if json.Unmarshal(line, &l) != nil {
		return false
	}
	switch {
	case l.Number == 0 && l.End > 0:
		j.frames = append(j.frames, compress.FrameEntry(l.journalFrame))
	case l.Number == len(j.volumes)+1 && l.Bytes > 0:
		j.volumes = append(j.volumes, l.journalVolume)
	default:
		return false
	}
	return true
}

// journalFile is a journal that is written.
type journalFile struct{ file *os.File }

// startJournal writes what the journal is to say so far, in place of the one that is at path, and returns where it goes on.
func startJournal(path string, j *journal) (*journalFile, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	err := e.Encode(j.head)
	for _, f := range j.frames {
		err = errors.Join(err, e.Encode(journalFrame(f)))
	}
	for _, v := range j.volumes {
		err = errors.Join(err, e.Encode(v))
	}
	if err == nil {
		err = durable.WriteFile(path, b.Bytes())
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	return &journalFile{f}, err
}

// frame adds the line of a frame.
func (j *journalFile) frame(e compress.FrameEntry) error { return j.add(journalFrame(e)) }

// volume adds the line of a volume. When it returns nil, all lines are on the disk.
func (j *journalFile) volume(v journalVolume) error {
	if err := j.add(v); err != nil {
		return err
	}
	return j.file.Sync()
}

func (j *journalFile) add(line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err = j.file.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
