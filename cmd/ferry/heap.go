package main

import (
	"math"
	"runtime/debug"
)

// unpackHeap is how large the heap becomes before what is garbage is collected at once, in bytes: half as much again as
// unpacking a compact bundle needs. Without that, garbage would take as much as all the rest.
const unpackHeap = 400 << 20

// limitGarbage holds the heap to unpackHeap, unless something else was said.
func limitGarbage() {
	if !heapLimited() {
		debug.SetMemoryLimit(unpackHeap)
	}
}

// heapLimited reports whether there is a limit of the heap already, as GOMEMLIMIT sets one.
func heapLimited() bool { return debug.SetMemoryLimit(-1) < math.MaxInt64 }
