package oci

import (
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	const patience = 10 * time.Second
	for name, c := range map[string]struct {
		reading, held, still time.Duration
		left                 time.Duration // to the second
	}{
		"at the beginning":                    {0, 0, 0, patience},
		"after long work with the others":     {time.Hour, 0, 0, patience},
		"stands still after that":             {time.Hour, 9 * time.Second, 9 * time.Second, time.Second},
		"stood still for too long":            {time.Hour, 11 * time.Second, 11 * time.Second, -time.Second},
		"slow, and has read just now":         {time.Minute, 30 * time.Second, 0, patience},
		"three times as slow as the others":   {400 * time.Second, 300 * time.Second, 0, patience},
		"four times as slow, and read lately": {500 * time.Second, 400 * time.Second, 0, -90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := &reading{
				f: &fan{c: &copier{o: CopyOptions{Patience: patience}}}, began: time.Now().Add(-c.reading),
				held: map[string]time.Duration{"a.test": c.held}, still: map[string]time.Duration{"a.test": c.still},
			}
			// The clock goes on while the test runs, which gives the group more time and never less.
			if got := r.left("a.test"); got < c.left || got > c.left+time.Minute {
				t.Errorf("%v are left, want %v", got, c.left)
			}
		})
	}
}
