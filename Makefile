# What a developer does here. `make` alone lists it.

GO      ?= go
DOCKER  ?= $(shell command -v docker || command -v podman || echo docker)
TAGS    := nomsgpack
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
LINT_VERSION := 2.15.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
IMAGE   ?= mergegate:$(VERSION)
FUZZTIME ?= 60s
ARGS    ?=
SOAK    ?= 20m
PARALLEL ?= 4
# Packages whose tests take longest: begun first, so that none of them runs alone at the end.
LONGEST := ./internal/server ./cmd/mergegate ./internal/postgres
RELIABILITY_KILLS ?= 100
RELIABILITY_DAYS ?= 50
MODEL_HISTORIES ?= 500
# The program's own log is long. What ends the pipe tells whether a test failed.
QUIET   := awk '!/"level":/ { print } /^(FAIL|panic)/ { failed = 1 } END { exit failed }'

# Where scripts/node.sh puts a Node when the machine has none that is new enough.
export PATH := $(CURDIR)/.cache/node/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo picture run test test-slow model soak test-go test-app lint image fuzz bench benchmarks postgres node

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: postgres ## Show the main job from end to end; nothing to sign up for (ARGS=--keep)
	@$(GO) run -tags $(TAGS) ./cmd/mergegate demo $(ARGS)

run: ## Run the service with the environment's configuration (ARGS)
	@test -n "$$DATABASE_URL" || ./scripts/postgres.sh
	@$(GO) run -tags $(TAGS) ./cmd/mergegate serve $(ARGS)

test: test-go test-app ## Run the tests, with the race detector; the slow ones are test-slow

# A database that is given serves the tests too: each makes one of its own beside it, and drops it.
# Many wait for time-outs and intervals most of the time, so that more of them run than there are cores.
# What vet finds, make lint finds.
test-go: postgres node
	TEST_DATABASE_URL="$${TEST_DATABASE_URL:-$$DATABASE_URL}" MODEL_HISTORIES=2000 $(GO) test -race -vet off -timeout 20m -parallel $(PARALLEL) -tags $(TAGS) $(LONGEST) ./...

# Those of files that are built with the tag slow, package by package; and the model with all the histories that it plays by itself.
test-slow: postgres node ## Run the slow tests: outages, kills, lost messages, random requests and histories
	@for package in $$(grep -rl --include='*_test.go' '^//go:build slow$$' cmd internal | xargs -n 1 dirname | sort -u); do \
		tests=$$(grep -l '^//go:build slow$$' $$package/*_test.go | xargs sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' | paste -sd '|' -); \
		echo "$$tests in $$package"; \
		TEST_DATABASE_URL="$${TEST_DATABASE_URL:-$$DATABASE_URL}" $(GO) test -race -vet off -timeout 30m -parallel $(PARALLEL) -tags $(TAGS),slow -run "^($$tests)\$$" ./$$package || exit 1; \
	done
	$(GO) test -race -vet off -timeout 30m -tags $(TAGS) -run '^TestVerdictsAgreeWithTheContract$$' ./internal/mergecheck

test-app: node
	npm test --silent --prefix manifest
	npm run lint --silent --prefix api/client

model: postgres ## Hold MODEL_HISTORIES (500) random histories to a model of the contract
	MODEL_HISTORIES=$$(( $(MODEL_HISTORIES) * 100 )) $(GO) test -tags $(TAGS) -timeout 60m -count 1 -v -run '^TestVerdictsAgreeWithTheContract$$' ./internal/mergecheck
	MODEL_HISTORIES=$(MODEL_HISTORIES) $(GO) test -tags $(TAGS),slow -timeout 60m -count 1 -v -run '^TestMergeChecksAgreeWithTheContract$$' ./internal/server | $(QUIET)

soak: postgres ## Kill the program RELIABILITY_KILLS (100) times, play RELIABILITY_DAYS (50), run it for SOAK (20m)
	RELIABILITY_KILLS=$(RELIABILITY_KILLS) RELIABILITY_DAYS=$(RELIABILITY_DAYS) $(GO) test -race -tags $(TAGS),slow -timeout 120m -count 1 -v \
		-run '^(TestKilledAtRandomMoments|TestMessagesInAnyOrder)$$' ./cmd/mergegate ./internal/server | $(QUIET)
	@mkdir -p bin && $(GO) build -tags $(TAGS) -o bin/mergegate ./cmd/mergegate
	SOAK=$(SOAK) MERGEGATE_TEST_PROGRAM=$(CURDIR)/bin/mergegate $(GO) test -tags $(TAGS),soak -timeout 24h -count 1 -v -run '^TestSoak$$' ./cmd/mergegate | $(QUIET)

bench: postgres ## Measure it beside a bare program and pgbench, and write docs/performance.md (ARGS)
	@mkdir -p bin && $(GO) build -tags $(TAGS) -trimpath -ldflags '-s -w' -o bin/mergegate ./cmd/mergegate
	$(GO) run -tags $(TAGS) ./internal/bench -write docs/performance.md -commit "$(VERSION)" $(ARGS)

picture: postgres ## Draw what README shows of the checks, from the answers of the demo
	$(GO) test -tags $(TAGS) -count 1 -run '^TestStoryIsHeld$$' ./internal/demo -update

lint: ## Vet and lint
	$(GO) vet -tags $(TAGS),slow,soak ./...
	@PATH="$$PATH:$$($(GO) env GOPATH)/bin"; \
	if golangci-lint version 2>/dev/null | grep -q 'version v\{0,1\}$(LINT_VERSION) '; \
	then set -- golangci-lint; else set -- $(GO) run $(LINT)@v$(LINT_VERSION); fi; \
	echo "$$@" run; "$$@" run

# Every target that there is: what grep finds is run, package by package.
fuzz: ## Fuzz every target for FUZZTIME (60s) each
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|^\(.*\)/[^/]*:func \(.*\)$$|\2 \1|' | \
	while read -r target package; do \
		echo "$$target in $$package"; \
		$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null || exit 1; \
	done

benchmarks: postgres ## Run the benchmarks of packages
	$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchmem ./...

image: ## Build the container image (DOCKER, IMAGE, VERSION)
	$(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --build-arg DATE=$(DATE) -t $(IMAGE) .

# The tests want PostgreSQL's programs even with TEST_DATABASE_URL: starting them is tested too.
postgres:
	@./scripts/postgres.sh

# The Forge app, and a client generated from the API description, are tested under Node.
node:
	@./scripts/node.sh
