// Package e2e tells stories: the real ferry, run as its users run it, against real registries, its bundles read by
// other people's tools. There is nothing here but tests.
//
// FERRY_E2E_LONG=1 runs the long stories as well. FERRY_REQUIRE_TOOLS=1 makes a story fail, instead of being skipped,
// whose foreign tool is missing. FERRY_BIN names a program to test instead of the one of this checkout.
package e2e
