# `make run` shows the service at work, `make test` checks it. Only Python and make are needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_OF_DEMO := demo-home
PIP := $(BIN)/python -m pip --disable-pip-version-check
INPUTS := pyproject.toml constraints.txt

.PHONY: run test test-fast lint lock freeze clean

run: $(VENV)/installed-run
	$(BIN)/deepbrainprint demo --home $(HOME_OF_DEMO)

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/installed-run: $(INPUTS) | $(BIN)/pip
	@echo "Installing DeepBrainPrint into $(VENV): some minutes the first time, then never again."
	$(PIP) install --constraint constraints.txt --editable '.[pipeline,stack]'
	@touch $@

$(VENV)/installed-test: $(INPUTS) | $(VENV)/installed-run
	@echo "Installing what the tests need into $(VENV)."
	$(PIP) install --constraint constraints.txt --editable '.[pipeline,stack,test]'
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	  (3, 11) <= v < (3, 14) or sys.exit("DeepBrainPrint needs Python 3.11 to 3.13, and %s is %d.%d:" \
	  " say for example `make run PYTHON=python3.12`" % (sys.executable, v[0], v[1]))'
	@echo "Creating the environment $(VENV) with $(PYTHON)."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot create environments:" \
	  "install its venv module (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }

# The exact versions that were tested together: resolved once in an environment of its own.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install '.[pipeline,stack,test,bench]' torch==2.13.0
	$(MAKE) freeze FROM=build/lock
	rm -rf build/lock

# Local version tags such as +cpu name one build of a version; any build of it will do.
FROM ?= $(VENV)
freeze:
	{ echo "# Every package of a tested environment, for pip's --constraint. Made by \`make lock\`."; \
	  $(FROM)/bin/python -m pip list --format=freeze --exclude deepbrainprint --exclude pip \
	    --exclude setuptools --disable-pip-version-check \
	    | sed 's/+.*//' | LC_ALL=C sort; } > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:
	-test ! -x $(BIN)/deepbrainprint || $(BIN)/deepbrainprint down --home $(HOME_OF_DEMO)
	rm -rf $(VENV) $(HOME_OF_DEMO) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
