# Two commands matter: `make reproduce` (the demo scale, on a laptop) and `make test`.
# Both make .venv from requirements.lock first; only Python 3.11 or newer is needed beforehand.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin

.PHONY: help venv reproduce rehearse-paper lint test test-faults test-slurm validate
.DEFAULT_GOAL := help

help:
	@echo 'make reproduce       run the demo scale: train, generate, score, tables and report in results/demo'
	@echo 'make test            lint, formatting, types, workflow lint and tests'
	@echo 'make lint            the same without the tests'
	@echo 'make test-faults     malformed inputs of every command, full disks, killed jobs (as root; about an hour)'
	@echo 'make test-slurm      a SLURM of one node runs a miniature and the demo (as root, with slurm-wlm and munge; about an hour)'
	@echo 'make rehearse-paper  every job of scale=paper on little data with models of random weights'
	@echo 'make validate        check the stored results: hashes, coverage, selection, tables, signatures'
	@echo 'make venv            only make or update .venv'

venv: .venv/.installed

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	@touch $@

reproduce: venv
	$(BIN)/snakemake --cores all

# From nothing, and all but the tables is deleted in the end: several GB of models.
rehearse-paper: venv
	rm -rf results/rehearsal
	$(BIN)/python -m pipeline.rehearsal.prepare
	$(BIN)/snakemake --cores $(WORKERS) --config scale=rehearsal
	cd results/rehearsal && rm -rf hub models data cache

validate: venv
	$(BIN)/python -m eval.validate results/stored/*

# $(call step,NAME,COMMAND): say what runs, and if it fails, say so last.
define step
	@echo '== $(1)'; $(2) || { echo '== FAILED: $(1)   ($(2))' >&2; exit 1; }
endef

lint: venv
	$(call step,ruff check,$(BIN)/ruff check .)
	$(call step,ruff format,$(BIN)/ruff format --check .)
	$(call step,mypy,$(BIN)/mypy)
	$(call step,snakemake lint,$(BIN)/snakemake --lint)

test: lint
	$(call step,pytest,$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile)
	@echo '== all steps passed'

test-faults: venv
	$(call step,faults,$(BIN)/python -m pytest -m 'faults or not faults' tests/faults)

test-slurm: venv
	$(call step,slurm,$(BIN)/python -m pytest -m slurm)
