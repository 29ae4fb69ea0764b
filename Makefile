# What there is to do with qbo_raw. Everything runs on a fresh Debian 12 with Rust; what else is needed is installed.
SHELL := /bin/bash
.DEFAULT_GOAL := help

WORK := $(or $(QBO_RAW_WORK),/var/tmp/qbo_raw)
PG_CONFIG ?= pg_config

.PHONY: help all demo psql demo-stop test test-all test-long test-repeat test-planted coverage bench test-package test-docker install package lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: ## builds, starts a private PostgreSQL and the simulator, loads three entities, shows the result
	@tests/setup/demo.sh

psql: ## a shell on the demo's database
	@tests/setup/demo.sh psql

demo-stop: ## ends the demo's server and simulator
	@tests/setup/demo.sh stop

test: ## the whole test suite, on PostgreSQL 15 and 18 or those of VERSIONS
	@tests/setup/test.sh

test-all: ## the whole test suite on PostgreSQL 15, 16, 17 and 18, with a table at the end
	@tests/setup/test.sh all

test-long: ## the figures of a release: thousands of faults, strikes and seeds, a working day of soak
	@tests/setup/test.sh long

test-repeat: ## the whole test suite twenty times over: does a test fail now and then?
	@tests/setup/test.sh repeat

test-planted: ## plants defects and sees whether the tests find each
	@tests/setup/planted.sh

coverage: ## how much of the core and of HTTP their own tests reach
	@tests/setup/coverage.sh

bench: ## ratios to COPY, to loaders written by hand and to the API's limits; FULL=1 with a million records
	@tests/setup/bench.sh

test-package: ## installs, upgrades and removes the .deb in Debian roots that have never seen the sources
	@tests/setup/package_test.sh

test-docker: ## builds the image, comes up with compose, restarts it in mid-run; needs a Docker engine
	@tests/setup/docker_test.sh

all: ## builds the extension for the PostgreSQL of PG_CONFIG
	@tests/setup/extension.sh "$$(command -v $(PG_CONFIG))" target/stage

install: ## builds the extension and installs it into the PostgreSQL of PG_CONFIG (default: pg_config)
	@tests/setup/extension.sh "$$(command -v $(PG_CONFIG))"

package: ## .deb, PGXN archive and tarballs of this version, in target/package
	@tests/setup/package.sh

lint: ## formatting and clippy, as the tests want them
	@tests/setup/test.sh lint

clean: ## removes what was built, the private servers and the demo
	@tests/setup/demo.sh stop || true
	cargo clean
	rm -rf "$(WORK)"
