# make demo and make test do all the set-up on a fresh machine; they make .venv if there is none.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test soak lint format bench install constraints clean

demo: $(VENV)/.installed
	$(BIN)/dicom2clip demo

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# The fault tests with many seeds: processes killed at random moments.
soak: $(VENV)/.installed
	DICOM2CLIP_SOAK=20 $(BIN)/pytest -m slow

bench: $(VENV)/.installed demo/small/cohort.json
	$(BIN)/python bench/crawl.py demo/small/cohort/dicom

demo/small/cohort.json: demo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.installed

# torch first and alone: its pin decides which build everything else is resolved against.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

constraints: $(VENV)/.installed
	echo "# Every version that a fresh install takes; \`make constraints\` writes it anew from .venv." > constraints.txt
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' >> constraints.txt

clean:
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
