package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/link"
)

// underWay returns the bytes that the kernel holds for connections with the registry at host: sent and not read.
func underWay(host string) (n int64, err error) {
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, err
	}
	raw, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	suffix := fmt.Sprintf(":%04X", number)
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		const established = "01"
		if len(f) < 5 || f[3] != established || !strings.HasSuffix(f[1], suffix) && !strings.HasSuffix(f[2], suffix) {
			continue
		}
		out, in, _ := strings.Cut(f[4], ":")
		for _, queue := range []string{out, in} {
			size, err := strconv.ParseInt(queue, 16, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/net/tcp: %q", line)
			}
			n += size
		}
	}
	return n, nil
}

// drained returns when the kernel holds no bytes for connections with the hosts.
func (w *world) drained(hosts ...string) {
	w.Helper()
	for _, host := range hosts {
		for {
			n, err := underWay(host)
			if err != nil {
				w.Error(err)
			}
			if n == 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// killedAt runs a command, lets n bytes pass the wire, and kills it when all that was sent has been read: what it knows
// then is all its own doing, and none of the kernel's buffers.
func (w *world) killedAt(trip *tripwire, server *distribution.Server, n int64, args ...string) {
	w.Helper()
	tripped := trip.arm(n)
	read := make(chan struct{})
	go func() {
		defer close(read)
		<-tripped
		w.drained(server.Host())
	}()
	w.killedWhen(read, args...)
	trip.release()
	w.settle(server)
}

// Of what a pack that was killed had read from the wire, the next one reads no more than a buffer for each transfer again.
func TestPackKilledMovesLittleTwice(t *testing.T) {
	s, err := largeStock()
	if err != nil {
		t.Fatal(err)
	}
	random := newRandom(t)
	for i := range rounds(2, 12) {
		n := 1 + random.Int64N(largeLayers*largeSize)
		t.Run(fmt.Sprintf("%d after %d bytes", i, n), func(t *testing.T) {
			trip := newTripwire()
			w := newWorldOf(t, s, distribution.Options{Wrap: trip.wrap}, distribution.Options{})
			command := packCommand(i)
			w.killedAt(trip, w.source, n, command...)
			before := w.source.Counts().Fetched
			w.source.Reset()
			w.ok(command...)
			after := w.source.Counts().Fetched
			w.movedOnce(before, after)
			w.ok("verify", "k8s.tar.zst")
		})
	}
}

// Of what an unpack that was killed had sent, the next one sends no more than a buffer for each transfer again.
func TestUnpackKilledMovesLittleTwice(t *testing.T) {
	s, err := largeStock()
	if err != nil {
		t.Fatal(err)
	}
	random := newRandom(t)
	for i := range rounds(2, 12) {
		n := 1 + random.Int64N(largeLayers*largeSize)
		t.Run(fmt.Sprintf("%d after %d bytes", i, n), func(t *testing.T) {
			trip := newTripwire()
			w := newWorldOf(t, s, distribution.Options{}, distribution.Options{Wrap: trip.wrap})
			w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
			w.killedWhen(trip.arm(n), "unpack", "k8s.tar.zst", w.to())
			trip.resume() // the registry reads what the line still holds, and finds its end
			w.settle(w.target)
			before := w.target.Counts().Received
			w.target.Reset()
			w.ok("unpack", "k8s.tar.zst", w.to())
			w.movedOnce(before, w.target.Counts().Received)
			w.arrived()
		})
	}
}

// Debian's docker-registry, of the line that Harbor ships, keeps the bytes of an upload that was cut, and says 404 to who
// asks for it: what it offers to go on with is the place where the request began. So that upload begins anew, once, over a
// line that counts.
func TestDebianUploadKilled(t *testing.T) {
	s, err := largeStock()
	if err != nil {
		t.Fatal(err)
	}
	const content = largeLayers * largeSize
	const others = 1 << 20 // more than all that is sent beside the content
	w := newWorldOf(t, s, distribution.Options{}, distribution.Options{})
	registry := debianRegistry(t, w.targetRoot, "", "")
	line, err := link.Start(t.Context(), registry, link.Options{Rate: 50e6})
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	to := line.Host() + "/" + prefix
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	half := make(chan struct{})
	go func() {
		defer close(half)
		for up := int64(0); up < content/2 && t.Context().Err() == nil; up, _ = line.Passed() {
			time.Sleep(time.Millisecond)
		}
	}()
	w.killedWhen(half, "unpack", "k8s.tar.zst", to)
	w.drained(line.Host(), registry)
	before, _ := line.Passed()
	w.ok("unpack", "k8s.tar.zst", to)
	after, _ := line.Passed()
	t.Logf("%d bytes before the kill, %d after it", before, after-before)
	if before >= content {
		t.Error("the kill came too late")
	}
	if after-before > content+others {
		t.Errorf("%d bytes were sent after the kill, the images have %d", after-before, content)
	}
	w.arrived()
}
