package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci/durable"
)

const (
	// maxJournal is the largest journal that is read, in bytes: some 300,000 references.
	maxJournal = 128 << 20
	journalExt = ".jsonl"
	keptExt    = ".json" // of what Keep puts beside a journal
)

var journalKey = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

// Journal is what a run has resolved so far, kept in the store, so that a run that goes on after a cut packs what the
// first one resolved, even if tags have moved since. It is the cache of a plan: with it no manifest is fetched twice.
type Journal struct {
	s   *Store
	key string

	mu       sync.Mutex
	f        *os.File
	resolved map[string]Descriptor
	found    map[string][]FoundReferrer
	dropped  map[digest.Digest]bool
}

// journalLine is one line of plans/<key>.jsonl: what Ref means, what is about Subject, or which blob the store has let go.
type journalLine struct {
	Ref        string      `json:"ref,omitempty"`
	Descriptor *Descriptor `json:"descriptor,omitempty"`

	Subject   string          `json:"subject,omitempty"` // repository@digest
	Referrers []FoundReferrer `json:"referrers,omitempty"`

	Dropped digest.Digest `json:"dropped,omitempty"`
}

func (l *journalLine) valid() bool {
	switch {
	case l.Subject != "":
		bad := func(r FoundReferrer) bool { return r.Descriptor.Digest.Validate() != nil }
		return l.Ref == "" && l.Dropped == "" && !slices.ContainsFunc(l.Referrers, bad)
	case l.Dropped != "":
		return l.Ref == "" && l.Dropped.Validate() == nil
	}
	return l.Ref != "" && l.Descriptor != nil && l.Descriptor.Digest.Validate() == nil
}

// Journal opens the journal key, or begins it. The key has up to 100 lower case letters, digits and `._-`. A last line
// that was cut off is dropped; any other line that cannot be read is [ErrCorrupt].
func (s *Store) Journal(key string) (*Journal, error) {
	if !journalKey.MatchString(key) {
		return nil, fmt.Errorf("journal key %q: want lower case letters, digits and ._-", key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.journals[key]; j != nil {
		return j, nil
	}
	f, err := os.OpenFile(filepath.Join(s.dir, plansDir, key+journalExt), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	j := &Journal{s: s, key: key, f: f, resolved: map[string]Descriptor{}, found: map[string][]FoundReferrer{}, dropped: map[digest.Digest]bool{}}
	if err := j.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.journals[key] = j
	return j, nil
}

// load reads all lines and leaves the file's position behind the last whole one.
func (j *Journal) load() error {
	raw, err := io.ReadAll(io.LimitReader(j.f, maxJournal+1))
	if err != nil {
		return err
	}
	if len(raw) > maxJournal {
		return fmt.Errorf("%s: more than %d bytes", j.f.Name(), maxJournal)
	}
	whole := raw[:bytes.LastIndexByte(raw, '\n')+1]
	n := 0
	for text := range bytes.Lines(whole) {
		n++
		var line journalLine
		if err := json.Unmarshal(text, &line); err != nil || !line.valid() {
			return fmt.Errorf("%s: line %d: %w", j.f.Name(), n, errBadLine)
		}
		j.take(line)
	}
	if err := j.f.Truncate(int64(len(whole))); err != nil {
		return err
	}
	_, err = j.f.Seek(int64(len(whole)), io.SeekStart)
	return err
}

func (j *Journal) take(line journalLine) {
	switch {
	case line.Subject != "":
		j.found[line.Subject] = line.Referrers
	case line.Dropped != "":
		j.dropped[line.Dropped] = true
	default:
		j.resolved[line.Ref] = *line.Descriptor
	}
}

var errBadLine = fmt.Errorf("not a journal line: %w", ErrCorrupt)

// Len returns how many references are resolved.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.resolved)
}

// Resolved returns what ref was resolved to.
func (j *Journal) Resolved(ref Reference) (Descriptor, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	d, ok := j.resolved[ref.String()]
	return d, ok
}

// PutResolved records what ref was resolved to.
func (j *Journal) PutResolved(ref Reference, d Descriptor) error {
	return j.put(journalLine{Ref: ref.String(), Descriptor: &d})
}

// Referrers returns what was found about subject, a repository and a digest.
func (j *Journal) Referrers(subject Reference) ([]FoundReferrer, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	list, ok := j.found[subject.String()]
	return list, ok
}

// PutReferrers records what was found about subject.
func (j *Journal) PutReferrers(subject Reference, list []FoundReferrer) error {
	return j.put(journalLine{Subject: subject.String(), Referrers: list})
}

func (j *Journal) put(line journalLine) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.f.Write(append(raw, '\n')); err != nil {
		return err
	}
	j.take(line)
	return nil
}

// Drop removes the blob d from the store, which the run needs no more, and records that it had it. The recipe of d stays,
// for a run that has to fetch d again.
func (j *Journal) Drop(d Descriptor) error {
	if err := j.put(journalLine{Dropped: d.Digest}); err != nil {
		return err
	}
	return j.s.dropBlob(d)
}

// Dropped reports whether a run has had the blob d and dropped it.
func (j *Journal) Dropped(d Descriptor) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dropped[d.Digest]
}

// Keep puts raw, of up to 128 MiB, beside the journal, in place of what was kept before: what a run that goes on has to
// know of the first one. It goes with the journal.
func (j *Journal) Keep(raw []byte) error {
	if len(raw) > maxJournal {
		return fmt.Errorf("%s: %d bytes to keep, at most %d", j.keptPath(), len(raw), maxJournal)
	}
	return durable.WriteFile(j.keptPath(), raw)
}

// Kept returns what Keep has put there, or [ErrNotFound].
func (j *Journal) Kept() ([]byte, error) {
	raw, err := durable.ReadFile(j.keptPath(), maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", j.keptPath(), ErrNotFound)
	}
	return raw, err
}

func (j *Journal) keptPath() string { return strings.TrimSuffix(j.f.Name(), journalExt) + keptExt }

// Manifest returns the bytes of the manifest d from the store, proven, or [ErrNotFound].
func (j *Journal) Manifest(ctx context.Context, d Descriptor) ([]byte, error) {
	return j.s.Manifest(ctx, d)
}

// PutManifest stores the bytes of the manifest d.
func (j *Journal) PutManifest(ctx context.Context, d Descriptor, raw []byte) error {
	return j.s.Push(ctx, Repository{}, d, rawContent(raw))
}

// Remove closes and deletes the journal, as one does when the run that it is for has done its work.
func (j *Journal) Remove() error {
	j.s.mu.Lock()
	delete(j.s.journals, j.key)
	j.s.mu.Unlock()
	return errors.Join(j.close(), os.Remove(j.f.Name()), removeIfThere(j.keptPath()))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveJournal deletes the journal key, also one that cannot be read. One that is not there is no error.
func (s *Store) RemoveJournal(key string) error {
	if !journalKey.MatchString(key) {
		return fmt.Errorf("journal key %q: want lower case letters, digits and ._-", key)
	}
	s.mu.Lock()
	j := s.journals[key]
	s.mu.Unlock()
	if j != nil {
		return j.Remove()
	}
	path := filepath.Join(s.dir, plansDir, key)
	return errors.Join(removeIfThere(path+journalExt), removeIfThere(path+keptExt))
}

func (j *Journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.f.Close()
}

func (s *Store) closeJournals() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, j := range s.journals {
		errs = append(errs, j.close())
	}
	clear(s.journals)
	return errors.Join(errs...)
}

// Manifest returns the bytes of the manifest d, up to [MaxManifestSize], proven by its digest. One that is not there,
// or was there and is not what its name says, is [ErrNotFound].
func (s *Store) Manifest(_ context.Context, d Descriptor) ([]byte, error) {
	if d.Size > MaxManifestSize {
		return nil, fmt.Errorf("manifest %s: %d bytes, at most %d are read", d.Digest, d.Size, MaxManifestSize)
	}
	f, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(Verify(f, d))
	if errors.Is(err, ErrCorrupt) {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNotFound, err), s.Drop(d))
	}
	if err != nil {
		return nil, err
	}
	s.setFresh(d, true)
	return raw, nil
}

// rawContent is the content of a blob that is in memory.
func rawContent(raw []byte) Content {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		if offset < 0 || offset > int64(len(raw)) {
			return nil, fmt.Errorf("offset %d of %d bytes", offset, len(raw))
		}
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
}
