package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/registry"
)

func TestRetriesText(t *testing.T) {
	for want, test := range map[string]struct {
		again  map[registry.Reason]int
		waited time.Duration
		twice  int64
	}{
		"": {},
		"retries: 14 (9 cut connections, 5 waits for 429)": {
			again: map[registry.Reason]int{registry.ReasonTooMany: 5, registry.ReasonCut: 9},
		},
		"retries: 4 (1 stalled transfer, 1 wait for 429, 1 server error, 1 refusal); 42s of pauses that were asked for; 1.2 MB moved twice": {
			again: map[registry.Reason]int{
				registry.ReasonStalled: 1, registry.ReasonTooMany: 1, registry.ReasonServer: 1, registry.ReasonRefused: 1,
			},
			waited: 42 * time.Second, twice: 1_200_000,
		},
	} {
		if got := retriesText(test.again, test.waited, test.twice); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDescribeQuotas(t *testing.T) {
	var b strings.Builder
	describeQuotas(&b, map[string]registry.Quota{
		"quay.example": {Counted: 1, Left: -1}, "docker.io": {Counted: 126, Left: 37, Limit: 200, Window: 6 * time.Hour},
	})
	if got, want := b.String(), "docker.io: 126 counted requests, 37 left\nquay.example: 1 counted request\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
