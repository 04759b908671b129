package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/registry"
)

// transferFlags are the flags of every command that moves blobs over a network: how much of it ferry takes, and how
// long it waits.
type transferFlags struct {
	N int // blobs under way at once

	limit     string  // bytes or bits a second, see parseRate
	requests  float64 // a second, to each host; 0 is any number
	timeout   time.Duration
	stall     time.Duration
	waitQuota bool

	told bool // the limit has been
}

const (
	// defaultTransfers is how many blobs move at once unless --transfers says otherwise.
	defaultTransfers = 8
	defaultStall     = time.Minute
)

// add defines the flags.
func (f *transferFlags) add(set *pflag.FlagSet) {
	set.IntVar(&f.N, "transfers", defaultTransfers, "move `N` blobs at once")
	set.StringVar(&f.limit, "limit-rate", "", "move no more than `RATE` a second, such as 20Mbit or 2.5MB; of a copy, at either end")
	set.Float64Var(&f.requests, "requests-per-second", 0, "send each host no more than `N` requests a second")
	set.DurationVar(&f.timeout, "timeout", 0, "give up the whole run after `TIME`, such as 2h")
	set.DurationVar(&f.stall, "stall-timeout", defaultStall, "a transfer that gets no byte for `TIME` is cut and goes on anew")
	set.BoolVar(&f.waitQuota, "wait-quota", false, "when a registry's quota is used up, wait until it opens again")
}

// check finds what is wrong with the flags.
func (f *transferFlags) check() error {
	err := checkAtLeast("transfers", f.N, 1)
	if _, rerr := f.rate(); rerr != nil {
		err = errors.Join(err, rerr)
	}
	if !(f.requests >= 0) || math.IsInf(f.requests, 1) {
		err = errors.Join(err, usagef("--requests-per-second %v: a number above 0 is needed", f.requests))
	}
	for name, d := range map[string]time.Duration{"timeout": f.timeout, "stall-timeout": f.stall} {
		if d < 0 {
			err = errors.Join(err, usagef("--%s %v: less than nothing", name, d))
		}
	}
	return err
}

// rate returns the value of --limit-rate in bytes a second, 0 for none.
func (f *transferFlags) rate() (int64, error) {
	if f.limit == "" {
		return 0, nil
	}
	rate, err := parseRate(f.limit)
	if err != nil {
		return 0, usagef("--limit-rate: %w", err)
	}
	return rate, nil
}

// within returns ctx with the end that --timeout sets. The function frees it, and says of the error with which a command
// ends, when it is no more than that the time is up, which time that is.
func (f *transferFlags) within(ctx context.Context) (context.Context, func(*error)) {
	if f.timeout <= 0 {
		return ctx, func(*error) {}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("--timeout %v: %w", f.timeout, errTimeIsUp))
	return ctx, func(err *error) {
		if errors.Is(*err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errTimeIsUp) {
			*err = context.Cause(ctx)
		}
		cancel()
	}
}

// errTimeIsUp ends a run that took longer than --timeout.
var errTimeIsUp = errors.New("the time is up")

// apply sets what the flags say in the options of a client, and tells of a limit, as bits and bytes are easily taken
// for one another.
func (f *transferFlags) apply(o *registry.Options, std *stdio) error {
	rate, err := f.rate()
	if err != nil {
		return err
	}
	if rate > 0 && !f.told {
		f.told = true
		std.say("limit: %s", formatRate(rate))
	}
	o.LimitRate, o.RequestsPerSecond, o.StallTimeout, o.WaitQuota = rate, f.requests, f.stall, f.waitQuota
	o.StateDir = stateDir(std)
	return nil
}

// stateDir returns the folder in which ferry keeps what a later run goes on with, or nothing for a user without a home.
// It is not the cache folder, because only the registry knows the other half of it.
func stateDir(std *stdio) string {
	if dir := std.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ferry")
	}
	switch runtime.GOOS {
	case "windows", "darwin":
		if dir, err := os.UserCacheDir(); err == nil {
			return filepath.Join(dir, "ferry", "state")
		}
		return ""
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, ".local", "state", "ferry")
}
