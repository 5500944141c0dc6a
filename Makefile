# Everything here works from a fresh clone: it makes its own environment in .venv.
#   make demo PYTHON=python3.12                      another interpreter (3.10 or later)
#   make demo PIP_INSTALL_ARGS="--extra-index-url ..."  more options for pip, such as the index of
#                                                    torch's CPU builds, much smaller on Linux

PYTHON ?= python3
VENV ?= .venv
PIP_INSTALL_ARGS ?=
SHEET ?= contact_sheet.html

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_INSTALL_ARGS) -c constraints.txt

# Nothing below asks the model hub for anything: the critic it uses lies in eliq/embedded/.
export HF_HUB_OFFLINE ?= 1

.PHONY: help demo test check bench wheel clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

demo: $(VENV)/.installed  ## score and rank the example images, write a contact sheet
	@$(BIN)/eliq rank examples/images --prompts examples/images/prompts.jsonl --contact-sheet $(SHEET) --format human
	@echo "Contact sheet: $(CURDIR)/$(SHEET)"
	@echo "The embedded critic sees damage; its alignment knows rendered scenes alone, not photographs (README, limits)."

# One thread, as the tests were written with: it adds in the same order on every machine.
# PYTEST_ARGS="-n 2 --dist loadfile" takes two processes instead of one.
test: $(VENV)/.installed-dev  ## run the tests (offline, CPU, about seven minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(PYTEST_ARGS)

check: $(VENV)/.installed-dev  ## lint and check the formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

bench: $(VENV)/.installed-bench  ## the measurements that README quotes (minutes)
	@for script in photo_ladder trust scenes packing embedded best_of_n; do \
	  echo "== benchmarks/$$script.py"; $(BIN)/python benchmarks/$$script.py || exit 1; done

wheel: $(VENV)/.installed  ## build the package and check that the critic is in it
	@$(BIN)/python -m pip wheel -qq --disable-pip-version-check --no-deps -w dist .
	@$(BIN)/python -m zipfile -l dist/eliq-*.whl | grep eliq/embedded/model.safetensors >/dev/null \
	  || { echo "the wheel lacks eliq/embedded/model.safetensors" >&2; exit 1; }
	@ls dist/eliq-*.whl

clean:  ## remove the environment and what the commands wrote
	rm -rf $(VENV) build dist *.egg-info contact_sheet.* .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "ELIQ needs Python 3.10 or later, this is " + sys.version.split()[0] + ": make demo PYTHON=python3.12")'
	@echo "Making an environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# The stamps make the second run instant. The install is editable, so that the code need not be
# a prerequisite of them.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing ELIQ and torch into $(VENV): up to ten minutes the first time, and silent till then ..."
	@$(PIP) torch
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PIP) -e '.[dev]'
	@touch $@

# basicsr is wanted for a file of parameters (NIQE) and none of its code, hence without dependencies.
# A benchmark names what it lacks, so that neither rival has to install.
$(VENV)/.installed-bench: $(VENV)/.installed
	@echo "Installing what the benchmarks need into $(VENV) ..."
	@$(PIP) -e '.[bench,diffusers]'
	@$(PIP) --no-deps basicsr || echo "basicsr did not install: NIQE will be left out"
	@touch $@
