//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// serveFacts are measurements of ferry serve, beside other registries with the same blobs.
type serveFacts struct {
	Rows  []serveRow `json:"rows,omitempty"`
	First []float64  `json:"firstManifestSeconds,omitempty"` // from the start of the process to the first manifest, with a large bundle
	Large int64      `json:"largeBundleBytes"`
	// ManyMemory is the most memory that ferry serve took while manyPulls clients pulled images from a plain bundle.
	ManyMemory int64 `json:"manyPullsPeakBytes"`
}

const (
	// largeBundle is the size of the bundle whose start is measured, and its first image.
	largeBundle, largeImage = 10_000_000_000, "app-000"
	// manyPulls is how many clients pull at once for the measurement of memory.
	manyPulls = 32
)

// serveRow is how one client pulls from one server.
type serveRow struct {
	Server  string        `json:"server"`
	Client  string        `json:"client"`
	Samples []serveSample `json:"samples"`
	Median  serveSample   `json:"median"`
}

// serveSample is one pull of all images: what the client took, and what the server took meanwhile.
type serveSample struct {
	usage
	ServerCPU    float64 `json:"serverCPUSeconds"`
	ServerMemory int64   `json:"serverPeakBytes"`
}

// Names of servers and clients.
const (
	serverFerry, serverDistribution, serverCrane = "ferry serve", "distribution", "crane registry serve"
	clientCrane, clientCurl                      = "crane pull", "curl"
)

// pullScripts are the clients. crane proves all that it pulls, curl takes each blob once and proves nothing.
var pullScripts = map[string]string{
	clientCrane: `crane pull --insecure --format oci $(sed 's|^[^/]*|'"$SRC"'|' "$LIST") layout`,
	clientCurl:  `sed 's|//[^/]*/|//'"$SRC"'/|; s|^output = .*|output = "/dev/null"|' "$FETCH" >fetch; curl -sfZ --parallel-max 8 -K fetch`,
}

// serving is a server in a process of its own.
type serving struct {
	name string
	host string
	cmd  *exec.Cmd
	kept bool // it goes on after the measurement
}

// servedAt is what a server prints of where it listens.
var servedAt = regexp.MustCompile(`(?:http://127\.0\.0\.1:|serving on port )([0-9]+)`)

// startServing starts a program that prints where it listens.
func startServing(name, program string, args ...string) (*serving, error) {
	s := &serving{name: name, cmd: exec.Command(program, args...)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if m := servedAt.FindStringSubmatch(lines.Text()); m != nil {
			s.host = "127.0.0.1:" + m[1]
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s does not say where it listens:\n%s", name, strings.Join(said, "\n")), s.stop())
}

// stop ends the server. How it ends says nothing here.
func (s *serving) stop() error {
	if s.kept {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = s.cmd.Wait()
	return nil
}

// measureServe measures ferry serve.
func (b *bench) measureServe(ctx context.Context) (f serveFacts, err error) {
	bundle, err := b.packToServe(ctx)
	if err != nil {
		return f, err
	}
	if f.Rows, err = b.serveRows(ctx, bundle); err != nil {
		return f, err
	}
	if f.ManyMemory, err = b.pullMany(ctx, bundle); err != nil {
		return f, err
	}
	f.First, f.Large, err = b.firstManifest(ctx)
	return f, err
}

// packToServe makes a plain bundle of all images.
func (b *bench) packToServe(ctx context.Context) (string, error) {
	bundle := filepath.Join(b.work, "serve.tar.zst")
	r, err := b.newRoom("serve", b.source.host, "", b.set.Images)
	if err != nil {
		return "", err
	}
	_, err = b.saveTo(ctx, ferryTool(), r, bundle)
	return bundle, err
}

// serveRows has each client pull from each server, in turns.
func (b *bench) serveRows(ctx context.Context, bundle string) (rows []serveRow, err error) {
	servers, err := b.startServers(ctx, bundle)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return nil, err
	}
	for _, client := range []string{clientCrane, clientCurl} {
		for _, s := range servers {
			rows = append(rows, serveRow{Server: s.name, Client: client})
		}
	}
	for i := range b.opts.runs {
		for j := range rows {
			k := (i + j) % len(rows)
			progress("%s from %s, run %d of %d", rows[k].Client, rows[k].Server, i+1, b.opts.runs)
			s, err := b.pull(ctx, servers[k%len(servers)], pullScripts[rows[k].Client])
			if err != nil {
				return nil, fmt.Errorf("%s from %s: %w", rows[k].Client, rows[k].Server, err)
			}
			rows[k].Samples = append(rows[k].Samples, s)
		}
	}
	for i := range rows {
		rows[i].summarise()
	}
	return rows, nil
}

// startServers starts all servers. Those that were started have to be stopped, with an error too.
func (b *bench) startServers(ctx context.Context, bundle string) (servers []*serving, err error) {
	ferry, err := startServing(serverFerry, filepath.Join(b.bin, "ferry"), "serve", "--listen", "127.0.0.1:0", bundle)
	if err != nil {
		return nil, err
	}
	servers = append(servers, ferry)
	// The source has served other measurements: its processor time counts from the begin of each pull.
	servers = append(servers, &serving{name: serverDistribution, host: b.source.host, cmd: b.source.cmd, kept: true})
	crane := filepath.Join(b.bin, "crane")
	if _, err := os.Stat(crane); err != nil {
		return servers, fmt.Errorf("crane is needed as a client: %w", err)
	}
	disk := filepath.Join(b.work, "crane-disk")
	if err := os.MkdirAll(filepath.Join(disk, "sha256"), 0o755); err != nil {
		return servers, err
	}
	s, err := startServing(serverCrane, crane, "registry", "serve", "--address", "127.0.0.1:0", "--disk", disk)
	if err != nil {
		return servers, err
	}
	servers = append(servers, s)
	return servers, b.set.Layout.Push(ctx, wire.Registry{URL: "http://" + s.host}, b.set.Images)
}

// pull runs a client in a room of its own, and measures it and the server.
func (b *bench) pull(ctx context.Context, from *serving, script string) (s serveSample, err error) {
	r, err := b.newRoom("pull", from.host, "", b.set.Images)
	if err != nil {
		return s, err
	}
	syscall.Sync()
	pid := from.cmd.Process.Pid
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if err := os.WriteFile(filepath.Join(proc, "clear_refs"), []byte("5"), 0); err != nil { // the peak begins anew
		return s, err
	}
	before, err := processorTime(proc)
	if err != nil {
		return s, err
	}
	if s.usage, err = runScript(ctx, r.dir, r.env, script); err != nil {
		return s, err
	}
	after, err := processorTime(proc)
	s.ServerCPU = after - before
	_, s.ServerMemory = residentMemory(proc)
	return s, errors.Join(err, os.RemoveAll(r.dir))
}

// clockTick is how many seconds one tick of the processor time in /proc is.
const clockTick = 0.01

// processorTime returns how many seconds of processor time a process has taken.
func processorTime(proc string) (float64, error) {
	raw, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // behind the name
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("%s/stat: %q", proc, raw)
	}
	u, err := strconv.ParseFloat(fields[user], 64)
	s, sErr := strconv.ParseFloat(fields[system], 64)
	return (u + s) * clockTick, errors.Join(err, sErr)
}

// pullMany has many clients pull all blobs of an image each, at once, and returns the most memory that the server had.
func (b *bench) pullMany(ctx context.Context, bundle string) (peak int64, err error) {
	progress("%d pulls at once", manyPulls)
	s, err := startServing(serverFerry, filepath.Join(b.bin, "ferry"), "serve", "--listen", "127.0.0.1:0", bundle)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	sample, err := b.pull(ctx, s, fmt.Sprintf(`sed 's|//[^/]*/|//'"$SRC"'/|; s|^output = .*|output = "/dev/null"|' "$FETCH" >fetch
seq %d | xargs -P %d -I{} curl -sfZ --parallel-max 3 -K fetch`, manyPulls, manyPulls))
	return sample.ServerMemory, err
}

// firstManifest starts ferry serve with a large bundle, some times, and returns the seconds until a manifest was there.
func (b *bench) firstManifest(ctx context.Context) (seconds []float64, size int64, err error) {
	progress("the first manifest of a bundle of %d GB", int64(largeBundle)/1e9)
	bundle := filepath.Join(b.work, "large.tar.zst")
	var made any
	if _, err := b.ask(ctx, &made, fmt.Sprintf(`parts sparse -size %d %s`, int64(largeBundle), bundle)); err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(bundle)) }()
	info, err := os.Stat(bundle)
	if err != nil {
		return nil, 0, err
	}
	for range b.opts.runs {
		began := time.Now()
		s, err := startServing(serverFerry, filepath.Join(b.bin, "ferry"), "serve", "--listen", "127.0.0.1:0", bundle)
		if err != nil {
			return nil, 0, err
		}
		err = fetchManifest(ctx, "http://"+s.host+"/v2/"+largeImage+"/manifests/1")
		seconds = append(seconds, time.Since(began).Seconds())
		if err := errors.Join(err, s.stop()); err != nil {
			return nil, 0, err
		}
	}
	return seconds, info.Size(), nil
}

func fetchManifest(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (r *serveRow) summarise() {
	of := func(value func(serveSample) float64) float64 {
		var values []float64
		for _, s := range r.Samples {
			values = append(values, value(s))
		}
		return median(values)
	}
	r.Median.Wall = of(func(s serveSample) float64 { return s.Wall })
	r.Median.CPU = of(func(s serveSample) float64 { return s.CPU })
	r.Median.ServerCPU = of(func(s serveSample) float64 { return s.ServerCPU })
	r.Median.ServerMemory = int64(of(func(s serveSample) float64 { return float64(s.ServerMemory) }))
}

// row returns how a client pulled from a server.
func (f serveFacts) row(server, client string) serveRow {
	i := slices.IndexFunc(f.Rows, func(r serveRow) bool { return r.Server == server && r.Client == client })
	if i < 0 {
		return serveRow{}
	}
	return f.Rows[i]
}
