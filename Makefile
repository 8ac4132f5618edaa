# Everything happens in .venv, which the first target that needs it makes; `make` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# the warning about a newer pip is no business of this project's
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile
	@echo "The environment is made in $(VENV) with PYTHON=$(PYTHON), which must be 3.11 or newer."

demo: $(VENV)/.demo ## index a small gallery, search it, and draw data/sheets/demo.png
	@$(BIN)/python data/make_gallery.py
	@$(BIN)/python data/demo.py

test: $(VENV)/.dev ## run the tests
	@sh tests/support/install_browser.sh
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev ## check style, types and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## measure speed, as ratios to a plain recipe and to the machine's limits
	$(BIN)/python -m benchmarks

clean: ## remove what demo, test and lint made; .venv stays
	rm -rf data/gallery data/queries data/library data/sheets benchmarks/work
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# A stamp is touched last, so an installation that broke off is taken up again by the next make.

$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: $(PYTHON) is not there. Install Python 3.11 or newer, or name one:" \
	    "make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: parecido needs Python 3.11 or newer, $(PYTHON) is" \
	    "$$("$(PYTHON)" --version 2>&1). Name a newer one:" \
	    "make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) comes without venv. Install it (on Debian and Ubuntu:" \
	    "apt install python3-venv)." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/.made
	@echo "Installing parecido into $(VENV); TensorFlow is large, the first time takes minutes."
	$(PIP) -e '.[demo]'
	@touch $@

# dev contains demo, so that what is installed for the tests serves the demo too
$(VENV)/.dev: pyproject.toml | $(VENV)/.made
	@echo "Installing parecido and its tools into $(VENV); the first time takes minutes."
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.demo $@
