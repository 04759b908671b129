package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ferry-oci/ferry/registry"
)

// sayRetries prints how often something had to be done again, and why, at those of the ends of a copy that are
// registries: `retries: 14 (9 cut connections, 5 waits for 429)`.
func sayRetries(std *stdio, ends ...any) {
	var sum registry.Stats
	again := map[registry.Reason]int{}
	var waited time.Duration
	for _, end := range ends {
		client, ok := end.(interface{ Stats() registry.Stats })
		if !ok {
			continue
		}
		s := client.Stats()
		sum.Twice += s.Twice
		for reason, n := range s.Again {
			again[reason] += n
		}
		for _, d := range s.Waited {
			waited += d
		}
	}
	if text := retriesText(again, waited, sum.Twice); text != "" {
		std.say("%s", text)
	}
}

// retriesText returns nothing when there was nothing.
func retriesText(again map[registry.Reason]int, waited time.Duration, twice int64) string {
	total := 0
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(again)) {
		total += again[reason]
		parts = append(parts, reasonText(reason, again[reason]))
	}
	if total == 0 {
		return ""
	}
	text := fmt.Sprintf("retries: %d (%s)", total, strings.Join(parts, ", "))
	if waited > 0 {
		text += fmt.Sprintf("; %s of pauses that were asked for", formatDuration(waited))
	}
	if twice > 0 {
		text += fmt.Sprintf("; %s moved twice", formatSize(twice))
	}
	return text
}

func reasonText(reason registry.Reason, n int) string {
	switch reason {
	case registry.ReasonCut:
		return plural(n, "cut connection")
	case registry.ReasonStalled:
		return plural(n, "stalled transfer")
	case registry.ReasonTooMany:
		return plural(n, "wait") + " for 429"
	case registry.ReasonServer:
		return plural(n, "server error")
	}
	return plural(n, "refusal")
}

// describeQuotas writes a line for each registry that counts requests: how many this run has used, and what is left.
func describeQuotas(b *strings.Builder, quotas map[string]registry.Quota) {
	for _, host := range slices.Sorted(maps.Keys(quotas)) {
		q := quotas[host]
		fmt.Fprintf(b, "%s: %s", host, plural(q.Counted, "counted request"))
		if q.Left >= 0 {
			fmt.Fprintf(b, ", %d left", q.Left)
		}
		b.WriteString("\n")
	}
}
