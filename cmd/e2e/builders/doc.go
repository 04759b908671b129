// Package builders tells which program made a layer, and makes it again: layers that real builders make, and what
// compress/gzip finds out about them. There is nothing here but tests.
//
// FERRY_E2E_LONG=1 tries all levels and sizes of chunks as well, and larger layers. FERRY_REQUIRE_TOOLS=1 makes a test
// fail, instead of being skipped, whose builder is missing.
package builders
