# The two commands: `make up` to use it, `make test` to check it. Both work a second time.
CARGO ?= cargo
DATA ?= $(CURDIR)/cess-dev
UP_ARGUMENTS ?=
SOAK_MINUTES ?= 60
SOAK_SEED ?=
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.PHONY: help up test soak lint build bench clean-data

help:
	@echo 'make up         build, then run a gateway on a CESS network in a box, in the foreground'
	@echo 'make test       install what the tests need, then run everything that must pass'
	@echo 'make soak       throw faults at a gateway under load for an hour (SOAK_MINUTES, SOAK_SEED)'
	@echo 'make lint       formatting and clippy, warnings are errors'
	@echo 'make bench      build optimised and measure against a network in a box'
	@echo 'make clean-data delete what `make up` keeps in $(DATA)'

up:
	@echo '== building cess-gateway and cess-devnet (optimised; the first time takes some minutes)'
	$(CARGO) build --release --locked --bin cess-gateway --bin cess-devnet
	@echo '== starting; everything it keeps lies in $(DATA)'
	exec $(TARGET)/release/cess-gateway dev --data '$(DATA)' $(UP_ARGUMENTS)

test: build
	tests/install-tools
	tests/run

soak: build
	SOAK_MINUTES='$(SOAK_MINUTES)' SOAK_SEED='$(SOAK_SEED)' $(CARGO) test --workspace --test soak --locked -- --ignored --nocapture

build:
	$(CARGO) build --workspace --locked --bins --tests

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

bench:
	$(CARGO) build --release --locked --bin cess-gateway --bin cess-devnet
	$(TARGET)/release/cess-gateway bench

clean-data:
	rm -rf '$(DATA)'
