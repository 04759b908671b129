package main

import "time"

// meterWindow is how far back the rate of a meter looks.
const meterWindow = 20 * time.Second

// meter tells how fast something moves and when it will be done. It is for one goroutine at a time.
type meter struct {
	total   int64 // bytes
	done    int64
	samples []sample // of the last meterWindow, oldest first, at most one a second
}

type sample struct {
	at   time.Time
	done int64
}

// add counts n more bytes at the given time. The first call, with 0, tells when the work begins.
func (m *meter) add(n int64, now time.Time) {
	if len(m.samples) == 0 {
		m.samples = append(m.samples, sample{now, m.done})
	}
	m.done += n
	if last := m.samples[len(m.samples)-1]; now.Sub(last.at) >= time.Second {
		m.samples = append(m.samples, sample{now, m.done})
	}
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= meterWindow {
		m.samples = m.samples[1:]
	}
}

// rate returns the bytes a second of the last meterWindow, 0 when nothing can be said yet.
func (m *meter) rate(now time.Time) int64 {
	if len(m.samples) == 0 {
		return 0
	}
	first := m.samples[0]
	seconds := now.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return int64(float64(m.done-first.done) / seconds)
}

// left returns how long the rest takes at the present rate, false when that cannot be said.
func (m *meter) left(now time.Time) (time.Duration, bool) {
	rate := m.rate(now)
	if rate <= 0 || m.done > m.total {
		return 0, false
	}
	seconds := (m.total - m.done) / rate
	if seconds > int64((30 * 24 * time.Hour).Seconds()) {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}

// text returns how much is done, the rate and the time left, in words.
func (m *meter) text(now time.Time) string {
	s := formatSize(m.done) + " of " + formatSize(m.total)
	if rate := m.rate(now); rate > 0 {
		s += ", " + formatSize(rate) + "/s"
	}
	if left, ok := m.left(now); ok {
		s += ", " + formatDuration(left) + " left"
	}
	return s
}
