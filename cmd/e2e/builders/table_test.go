package builders

import (
	"fmt"
	"runtime"
	"strings"

	recipes "github.com/ferry-oci/ferry/compress/gzip"
)

const (
	skopeoEngine = "pgzip level 5 variant 1 in chunks of 1024 KiB"
	umociEngine  = "pgzip level 5 variant 1 in chunks of 256 KiB"
	zlibEngine   = "zlib level 6 variant 8"
	gnuEngine    = "GNU gzip level 6"
)

// tools returns the programs that make layers.
func tools() []builder {
	return []builder{
		{name: "skopeo", tools: []string{"skopeo"}, build: skopeo, engine: skopeoEngine},
		{name: "umoci", tools: []string{"umoci"}, build: umoci, engine: umociEngine},
		{name: "Python", tools: []string{"python3"}, build: python(9), engine: "zlib level 9 variant 8"},
		filter("bsdtar -czf - layer.tar", zlibEngine, ""),
		filter("tar -czf - layer.tar", gnuEngine, ""),
		filter("gzip -c layer.tar", gnuEngine, ""),
		filter("busybox gzip -c", gnuEngine, ""), // the variant of Debian's writes the same
		filter("pigz -c -p 2", "pigz level 6 in chunks of 128 KiB", ""),
		filter("pigz -c -p 1", "pigz level 6 in chunks of 128 KiB", ""),
		filter("pigz -c -i", "pigz -i level 6 in chunks of 128 KiB", ""),
		filter("pigz -c --rsyncable", "", recipes.NoEngine),
		filter("gzip -c --rsyncable", "", recipes.NoEngine),
		filter("7z a -tgzip -si -so -an -bd", "", recipes.NoEngine),
		filter("libdeflate-gzip -c", "", recipes.NoEngine),
		filter("zopfli --i1 -c layer.tar", "", recipes.NoEngine),
	}
}

// largeTools returns programs that take more to install than CI does.
func largeTools() []builder {
	return []builder{
		{name: "buildah", tools: []string{"buildah"}, build: buildah, engine: skopeoEngine},
		{name: "Java", tools: []string{"javac", "java"}, build: java, engine: zlibEngine},
	}
}

// libraries returns those that are linked here.
func libraries() []builder {
	return []builder{
		{name: "estargz", build: stargz(0), engine: goEngine(9)},
		{name: "estargz in chunks", build: stargz(64 << 10), engine: goEngine(9)},
		{name: "Go", build: golang(-1), engine: goEngine(6)},
		{name: "klauspost", build: klauspost(5), engine: "klauspost level 5"},
		{name: "pgzip", build: pgzip(5, 1<<20), engine: "pgzip level 5"},
	}
}

// levels returns the builders that have levels, with all of them.
func levels() []builder {
	var all []builder
	for level := 1; level <= 9; level++ {
		all = append(all,
			filter(fmt.Sprintf("gzip -nc%d", level), fmt.Sprintf("GNU gzip level %d", level), ""),
			filter(fmt.Sprintf("pigz -c -p 2 -%d", level), fmt.Sprintf("pigz level %d in chunks of 128 KiB", level), ""),
			filter(fmt.Sprintf("libdeflate-gzip -c -%d", level), "", recipes.NoEngine),
			filter(fmt.Sprintf("bsdtar --options gzip:compression-level=%d -czf - layer.tar", level), fmt.Sprintf("zlib level %d variant 8", level), ""),
			builder{name: fmt.Sprintf("Python level %d", level), tools: []string{"python3"}, build: python(level), engine: fmt.Sprintf("zlib level %d variant 8", level)},
		)
	}
	for level := -2; level <= 9; level++ {
		all = append(all, builder{name: fmt.Sprintf("Go level %d", level), build: golang(level), engine: goEngine(level)})
	}
	for level := 1; level <= 9; level++ {
		k := builder{name: fmt.Sprintf("klauspost level %d", level), build: klauspost(level), engine: fmt.Sprintf("klauspost level %d", level)}
		p := builder{name: fmt.Sprintf("pgzip level %d", level), build: pgzip(level, 1<<20), engine: fmt.Sprintf("pgzip level %d", level)}
		if level > 6 { // one that is not written here
			k.engine, k.reason = "", recipes.NoEngine
			p.engine, p.reason = "", recipes.NoEngine
		}
		all = append(all, k, p)
	}
	for _, level := range []int{1, 5, 6} {
		all = append(all, builder{
			name: fmt.Sprintf("Go 1.27 level %d", level), tools: []string{"go"}, build: go127(level),
			engine: fmt.Sprintf("klauspost level %d", level),
		})
	}
	return all
}

// chunks returns the builders that have chunks, with several sizes of them and numbers of threads.
func chunks() []builder {
	all := []builder{{name: "pgzip in chunks of 512 KiB", build: pgzip(5, 512<<10), engine: "pgzip level 5"}}
	for _, threads := range []int{1, 2, 4} {
		for _, size := range []int{32, 100, 256, 1024} {
			all = append(all, filter(fmt.Sprintf("pigz -c -p %d -b %d", threads, size), fmt.Sprintf("pigz level 6 in chunks of %d KiB", size), ""))
		}
	}
	return all
}

// filter returns the builder that is a command, and writes the layer.
func filter(command, engine string, reason recipes.Reason) builder {
	words := strings.Fields(command)
	build := func(b *bench) []byte { return b.run(words[0], words[1:]...) }
	return builder{name: command, tools: words[:1], build: build, engine: engine, reason: reason}
}

// goEngine returns the engine of this Go's compress/gzip at a level.
func goEngine(level int) string {
	if level == -1 {
		level = 6
	}
	if strings.HasPrefix(runtime.Version(), "go1.27") {
		return fmt.Sprintf("klauspost level %d variant 4", level)
	}
	return fmt.Sprintf("Go level %d", level)
}
