# Avatar. `make run` is all a user needs; `make help` shows the rest. Everything is safe to repeat, and quick when nothing changed.

# What a machine may override.
CARGO ?= cargo
PYTHON ?= python3
# Further flags of `avatar serve`, as ARGS="--listen 0.0.0.0:8443 --set tls.mode=auto".
ARGS ?=
# Further flags of `scripts/bench`, as BENCH="--quick --json bench.json".
BENCH ?=

export CARGO_TARGET_DIR ?= $(CURDIR)/target
export AVATAR_MODELS ?= $(CURDIR)/data/models
RELEASE := $(CARGO_TARGET_DIR)/release/avatar
DEBUG := $(CARGO_TARGET_DIR)/debug/avatar

# Parts that a checkout may lack.
PAGE := $(wildcard web/package.json)
BROWSER_TESTS := $(wildcard tests/browser/package.json)
CLIENT_TESTS := $(wildcard tests/clients/requirements.txt)

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run serve build models test test-rust test-web test-browser test-clients lint fmt bench clean system test-system

help:
	@echo "make run      install what is missing, build, fetch the starter models, serve"
	@echo "make models   fetch the starter models into $(AVATAR_MODELS)"
	@echo "make test     everything: Rust, page, real browser, Python clients"
	@echo "make lint     formatting, clippy, types"
	@echo "make bench    voice-to-voice latency (docs/benchmarks.md)"
	@echo "make clean    remove what was built; models and data stay"

run: system build
	@$(RELEASE) models pull --starter
	@exec $(RELEASE) serve $(ARGS)

serve: run

build: $(if $(PAGE),web/dist/index.html)
	$(CARGO) build --release --locked

models: system $(DEBUG)
	@$(DEBUG) models pull --starter

# cargo knows what is up to date; make need not. Built as the tests build it, or the dependencies would be built twice.
.PHONY: $(DEBUG)
$(DEBUG): $(if $(PAGE),web/dist/index.html)
	$(CARGO) test --workspace --locked --no-run

# ---- Tests: each runner's own closing lines are the result ---------------------------------------------------------------

test: test-system models test-rust $(if $(PAGE),test-web) $(if $(BROWSER_TESTS),test-browser) $(if $(CLIENT_TESTS),test-clients)

test-rust: models
	$(CARGO) test --workspace --locked

test-web: web/node_modules/.package-lock.json
	npm --prefix web test

test-browser: models tests/browser/node_modules/.package-lock.json
	AVATAR_BIN=$(DEBUG) npm --prefix tests/browser test

test-clients: models .venv/ready
	AVATAR_BIN=$(DEBUG) .venv/bin/python -m pytest tests/clients

lint: $(if $(PAGE),web/dist/index.html)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(if $(PAGE),npm --prefix web run lint)

fmt:
	$(CARGO) fmt --all

bench: system build
	@$(RELEASE) models pull --starter
	@AVATAR_BIN=$(RELEASE) $(PYTHON) scripts/bench $(BENCH)

# ---- The page, and what tests need ---------------------------------------------------------------------------------------

PAGE_SOURCES := $(if $(PAGE),$(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print))

web/node_modules/.package-lock.json: web/package-lock.json
	npm --prefix web ci --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(PAGE_SOURCES)
	npm --prefix web run build
	@touch $@

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	npm --prefix tests/browser ci --no-audit --no-fund
	@touch $@

.venv/ready: tests/clients/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/clients/requirements.txt
	@touch $@

system:
	@scripts/setup

test-system:
	@scripts/setup --tests

clean:
	$(CARGO) clean
	rm -rf web/dist web/node_modules tests/browser/node_modules .venv
