# Every target installs what it needs into .venv; nothing is expected on the machine but Python 3.11-3.13, make and a
# C compiler. Versions come from constraints.txt.
#
# .venv has what README's chapters use: the package with its server and bulk doors. `make test` adds the rest.
#
# torch: the plain package of the configured index is taken. On Linux that is the build with GPU support (a few GB);
# for a smaller CPU build set PIP_EXTRA_INDEX_URL (or pip.conf) to the index that has it. Both meet the same pin.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := build/lock

# A Python that runs, is in range, and can make environments (a version manager's stub for an absent version cannot).
SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON = $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	if $$name -c '$(SUITABLE)' >/dev/null 2>&1; then command -v $$name; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: help demo nano test check format bench soak faults studio lock clean distclean

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.run ## Render graphs/text2music.yaml with a full lyric to outputs/
	$(BIN)/acestep-flows run text2music --set tags=@examples/night-bus.tags.txt --set lyrics=@examples/night-bus.txt \
		--set duration=30 --set exact_length=true --set seed=7 --out outputs

nano: $(VENV)/.dev ## Train acestep-nano from nothing in build/nano, or go on with it (hours; ctrl-C saves)
	$(BIN)/python -m acestep_flows.cli.nano --out build/nano $(ARGS)

test: $(VENV)/.dev ## Run the whole test suite in two processes; ARGS="tests/model -x" narrows it, in one
	$(BIN)/python -m pytest $(or $(ARGS),-n 2)

check: $(VENV)/.dev ## Lint, formatting, strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Time every stage and a whole song on this machine
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev ## Load a server for half an hour, and show what grows; ARGS="--minutes 5" shortens it
	$(BIN)/python -m benchmarks.soak $(ARGS)

faults: $(VENV)/.dev ## Kill, stop and starve servers and jobs, and show what is lost (as root: small disks, PostgreSQL)
	$(BIN)/python -m benchmarks.faults $(ARGS)

studio: ## Build the page from studio/ into acestep_flows/studio/static (needs Node.js)
	cd studio && npm ci --no-audit --no-fund --silent && npm run --silent types && npm run --silent build

lock: ## Resolve the newest admissible versions in a scratch environment and pin them in constraints.txt
	$(call need_python)
	rm -rf $(LOCK)
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install --editable ".[dev]"
	sed -n '/^#/p' constraints.txt > $(LOCK)/constraints.txt
	$(LOCK)/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+[^+]*$$//' >> $(LOCK)/constraints.txt
	mv $(LOCK)/constraints.txt constraints.txt
	rm -rf $(LOCK)

clean: ## Remove what building and running left behind (keeps .venv, outputs/ and build/nano)
	find build -mindepth 1 -maxdepth 1 ! -name nano -exec rm -rf {} + 2>/dev/null || true
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .benchmarks .hypothesis
	find acestep_flows tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## Also remove .venv
	rm -rf $(VENV)

define need_python
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with venv found; try make PYTHON=/path/to/python3.12" >&2; exit 1; }
endef

# Stamps: a file in .venv newer than its sources says that the step was finished, not merely begun.
$(VENV)/.made:
	$(call need_python)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing packages into $(VENV): some 2 GB, a few minutes; then it makes a song"
	$(PIP) install --constraint constraints.txt --editable ".[serve,bulk]"
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.run
