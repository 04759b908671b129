package durable

// SyncDir does nothing: NTFS keeps the order of changes to a folder in its journal, and there is no call for it.
func SyncDir(string) error { return nil }
