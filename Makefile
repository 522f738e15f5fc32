# Everything a fresh machine needs besides Python 3.11 or 3.12 and make. Packages come from pip as it is configured here.
#
# The tests need torch. On Linux pip takes its CUDA build by default, some gigabytes; to get the CPU build, point pip at
# PyTorch's CPU wheels first with the environment variable PIP_EXTRA_INDEX_URL (an index) or PIP_FIND_LINKS (a folder).
# insightface asks for opencv-python, which needs the system's libGL; its headless namesake, laid over it, has the same files without.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
SOURCES := pvchat_jax configs converters tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow test-slurm lint format clean

help:
	@echo 'make quickstart   install what is needed and run the whole path on a small example'
	@echo 'make test         install the developer tools as well and run the fast tests on the CPU'
	@echo 'make test-slow    the tests that take minutes'
	@echo 'make test-slurm   two tasks of a real Slurm on this machine; needs root, slurm-wlm and munge'
	@echo 'make lint         check style and formatting'
	@echo 'make format       reformat the code and apply safe fixes'
	@echo 'make clean        remove $(VENV) and the caches of the tools'
	@echo 'With another Python: make test PYTHON=python3.12 VENV=.venv312'

# The stamps $(VENV)/.created, .installed and .installed-dev make a second call quick and an interrupted one start again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo 'error: $(PYTHON) is not Python 3.11 or 3.12; name one that is, for example "make PYTHON=python3.12 $(MAKECMDGOALS)".' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	@touch $(VENV)/.installed $@

quickstart: $(VENV)/.installed
	$(BIN)/python -m pvchat_jax.quickstart

test: $(VENV)/.installed-dev
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -m 'not slow' -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-dev
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -m slow

test-slurm: $(VENV)/.installed-dev
	$(BIN)/python -m tests.launch.slurm_run

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
