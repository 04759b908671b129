package oci

import "errors"

// Abandon lets go of a store as the end of its process would.
func (s *Store) Abandon() error { return errors.Join(s.closeJournals(), s.lock.Close()) }

// CloseJournals closes all journals, so that they are read again when they are opened.
func (s *Store) CloseJournals() error { return s.closeJournals() }
