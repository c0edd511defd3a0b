# Everything is built and tested with Go alone; make lint installs its tools
# from the Go proxy into bin/, at the versions given here.

STATICCHECK := 0.8.2
GOFUMPT     := 0.12.0

# The race detector needs cgo, which is on wherever there is a C compiler.
RACE     := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
COUNT    ?= 1
FUZZTIME ?= 20s
SCHEDULES ?= 10000
N        ?= 1000
LIFE     ?= 5s
RUN      ?= 30s
COVERAGE := 95.0
SYSTEMS  := windows darwin freebsd
COVERED  := transport tokensource basic apikey challenge digest cookiejar authtest

export GOFLAGS := -mod=readonly

.PHONY: help demo test race fuzz cover lint fmt bench benchtest microbench redis fleet integration peers simulate mutants
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## 500 callers through expiring and revoked tokens, beside x/oauth2
	@go run ./examples/refresh

test: ## all tests of the library, with the race detector where there is cgo
	@$(if $(RACE),,echo "no C compiler: testing without the race detector")
	go test $(RACE) -shuffle=on -count=$(COUNT) ./...

race: ## the tests three times over
	@$(MAKE) --no-print-directory test COUNT=3

simulate: ## SCHEDULES (10,000) generated schedules of faults, in fake time; SEED=n runs one, with its trace
	@go test ./internal/simulate -run '^TestSchedules$$' -v $(if $(SEED),-seed $(SEED),-schedules $(SCHEDULES))

mutants: ## break the library in each known way: the schedules must find it
	go test ./internal/simulate -run '^TestMutants$$' -v -timeout 30m -mutants

fuzz: ## every fuzz target for FUZZTIME (20s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
			go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) $$dir || exit 1; \
		done; \
	done

cover: ## statement coverage, which must be 95 % or more
	@for p in $(COVERED); do \
		go test -count=1 -coverprofile=coverage.txt ./$$p || exit 1; \
		go tool cover -func=coverage.txt | awk -v p=$$p -v min=$(COVERAGE) \
			'/^total:/ {sub("%", "", $$3); if ($$3 + 0 < min) {print p ": " $$3 " % is below " min " %"; exit 1}}' || exit 1; \
	done; rm -f coverage.txt

lint: bin/staticcheck-$(STATICCHECK) bin/gofumpt-$(GOFUMPT) ## vet, for other systems too, go fix, gofumpt, staticcheck, examples
	go vet ./...
	go fix -diff ./...
	@bad=$$(bin/gofumpt-$(GOFUMPT) -l .) && test -z "$$bad" || { echo "make fmt mends: $$bad"; exit 1; }
	bin/staticcheck-$(STATICCHECK) ./...
	go build -o /dev/null ./examples/...
	for os in $(SYSTEMS); do GOOS=$$os CGO_ENABLED=0 go vet ./... || exit 1; done
	go mod tidy -diff
	cd redisstore && go vet ./... && go fix -diff ./... && ../bin/staticcheck-$(STATICCHECK) ./... && go mod tidy -diff
	cd integration && go vet ./... && go fix -diff ./... && ../bin/staticcheck-$(STATICCHECK) ./... && go mod tidy -diff
	cd integration/peers && go vet ./... && go fix -diff ./... && ../../bin/staticcheck-$(STATICCHECK) ./... && go mod tidy -diff
	cd bench && go vet ./... && go fix -diff ./... && ../bin/staticcheck-$(STATICCHECK) ./... && go mod tidy -diff

fmt: bin/gofumpt-$(GOFUMPT) ## format the code
	bin/gofumpt-$(GOFUMPT) -w .

bench: ## beside the peers: writes BENCHMARKS.md and docs/rollover.svg; takes minutes, on a machine with nothing else to do
	cd bench && go run . -page ../BENCHMARKS.md -plot ../docs/rollover.svg

benchtest: ## that the rows of bench/ are honest, and that all of it runs
	cd bench && go test -shuffle=on -count=$(COUNT) ./... && go run . -quick >/dev/null

microbench: ## the benchmarks of each package, with allocations
	go test -run='^$$' -bench=. -benchmem ./...
	cd redisstore && go test -run='^$$' -bench=. -benchmem ./...

redis: ## redisstore/ against redis-server, or where there is none against miniredis
	cd redisstore && go test $(RACE) -shuffle=on -count=$(COUNT) ./...

fleet: ## N (1000) processes on one key of a redis-server, with tokens of LIFE (5s), for RUN (30s)
	@cd redisstore && ulimit -n 60000 2>/dev/null; go run ./internal/fleet -n $(N) -life $(LIFE) -run $(RUN)

integration: ## against real authorization servers, web servers and a proxy
	cd integration && go test -p 1 $(RACE) -timeout 20m -shuffle=on -count=$(COUNT) ./...
	cd integration/peers && go test -shuffle=on -count=$(COUNT) ./...

peers: ## the contract kit on public RoundTrippers: README.md's table
	cd integration/peers && go run . ../../README.md

bin/staticcheck-$(STATICCHECK):
	GOFLAGS= GOBIN=$(CURDIR)/bin go install honnef.co/go/tools/cmd/staticcheck@v$(STATICCHECK)
	@mv bin/staticcheck $@

bin/gofumpt-$(GOFUMPT):
	GOFLAGS= GOBIN=$(CURDIR)/bin go install mvdan.cc/gofumpt@v$(GOFUMPT)
	@mv bin/gofumpt $@
