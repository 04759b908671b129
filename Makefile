# make demo    the whole trip on this machine, from images in one registry to the same images in another
# make test    all tests
#
# make build   bin/ferry                     make check   what CI runs: format, vet, lint, tests with -race, ...
# make e2e     the long stories              make bench   ferry against other tools (BENCHFLAGS=--small for a short one)
# make arm64   the golden hashes, as an arm64 has them: in an emulator
# make fuzz    every fuzz target, FUZZTIME   make release binaries for all platforms, and their checksums, in dist/

GO          ?= go
TESTFLAGS   ?=
BENCHFLAGS  ?=
FUZZTIME    ?= 1m
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# One static binary; the same source and Go give the same bytes wherever they are built, whatever the environment says.
BUILD       := CGO_ENABLED=0 GOFLAGS= GOEXPERIMENT= GOAMD64=v1 GOARM64=v8.0 $(GO) build -trimpath -buildvcs=false -ldflags='-s -w -buildid= -X main.version=$(VERSION)'

.PHONY: build test check fmt vet staticcheck cross fuzz fuzz-short e2e arm64 demo bench release clean

build:
	$(BUILD) -o bin/ferry ./cmd/ferry

# The stories run ferry as a program: the race detector sees nothing of it, and go's cache of test results does not know
# when it has changed. What encodes a lot takes ten times as long under it, and most of that has nothing for it to see: the
# encoders themselves, which are of one goroutine, and the tests in ENCODING. Of those it gets what works on several at once.
RACE     = $(filter -race,$(TESTFLAGS))
NORACE   = $(filter-out -race,$(TESTFLAGS))
ENCODING = Forged|Ungzip|TestLongFrames|EachByteFlipped|TestTruncated|ContentIDForEver|TestWriteAll$$|TestTurns|TestVolumes.*/.*compact|TestEachVolumeMissing/compact|TestScripts/.*compact
test:
	$(GO) test $(TESTFLAGS) $(if $(RACE),-skip='$(ENCODING)') $$($(GO) list ./... | grep -v -e /compress/gzip -e /compress/zstdlong)
	$(if $(RACE),$(GO) test $(NORACE) -run='$(ENCODING)' ./bundle ./compress ./cmd/ferry)
	$(GO) test $(NORACE) ./compress/gzip/... ./compress/zstdlong
	$(if $(RACE),$(GO) test $(TESTFLAGS) -run='Checkpoints|Budget' ./compress/gzip)
	cd cmd/e2e && $(GO) test -count=1 $(NORACE) ./...

check: TESTFLAGS = -race
check: fmt vet staticcheck cross test fuzz-short

fmt:
	@unformatted=$$($(GO) run $(GOFUMPT) -l .) && test -z "$$unformatted" || \
		{ echo "not in gofumpt's form: $$unformatted"; exit 1; }

vet:
	$(GO) vet ./...
	cd cmd/e2e && $(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...
	cd cmd/e2e && $(GO) run $(STATICCHECK) ./...

cross:
	@set -e; for p in $(PLATFORMS); do \
		echo "build $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./...; \
	done
	GOOS=windows $(GO) vet ./...

# Runs each target that is in the tree, one after the other. A count of runs, unlike a time, means the same everywhere.
fuzz-short: FUZZTIME = 2000x
fuzz fuzz-short:
	@grep -rno --include='*_test.go' --exclude-dir=e2e '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file _ target; do \
		echo "$$(dirname "$$file") $${target#func }"; \
		$(GO) test -run='^$$' -fuzz="^$${target#func }$$" -fuzztime=$(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
	done

e2e: arm64
	FERRY_E2E_LONG=1 $(GO) test -timeout=30m -run=EachByte ./bundle
	FERRY_E2E_LONG=1 $(GO) test -v -timeout=30m -run=LargeHarbor ./cmd/ferry
	cd cmd/e2e && FERRY_E2E_LONG=1 $(GO) test -v -count=1 -timeout=60m $(TESTFLAGS) ./...

# What the encoders of gzip make is the same on every platform. Their goldens were made on amd64, by the programs that the
# encoders are named for.
arm64:
	@command -v qemu-aarch64-static >/dev/null || \
		{ echo "arm64: skipped, qemu-aarch64-static (package qemu-user-static) is not installed"; test -z "$$FERRY_REQUIRE_TOOLS"; exit; }; \
	GOARCH=arm64 CGO_ENABLED=0 $(GO) test -count=1 -exec=qemu-aarch64-static -timeout=30m \
		-run='Golden|StreamsStayTheSame|EqualsTheLinkedVersion$$' ./compress/gzip/...

demo bench:
	cd cmd/e2e && $(GO) build -o ../../bin/$@ ./$@ && exec ../../bin/$@ $(if $(filter bench,$@),$(BENCHFLAGS))

release:
	rm -rf dist && mkdir dist
	@set -e; for p in $(PLATFORMS); do \
		out=dist/ferry-$${p%/*}-$${p#*/}; if [ $${p%/*} = windows ]; then out=$$out.exe; fi; \
		echo "$$out"; GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o "$$out" ./cmd/ferry; \
	done
	cd dist && LC_ALL=C && export LC_ALL && { sha256sum ferry-* 2>/dev/null || shasum -a 256 ferry-*; } > SHA256SUMS

clean:
	rm -rf bin dist
