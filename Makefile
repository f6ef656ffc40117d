# Every target makes .venv when it is missing or when what it is made from changed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test check bench peers table report notebooks soak format clean

demo: $(READY)
	$(BIN)/quark-bench run datasets/quickstart.jsonl

# Side by side, two more than there are cores (tests/conftest.py), but for what is timed.
test: check
	$(BIN)/python -m pytest -m "not soak and not timed and not scale" --numprocesses auto --dist worksteal --quiet
	$(BIN)/python -m pytest -m timed

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Ratios of one process run, as a table and as JSON. BENCH_PROMPTS=1000000 makes the largest run a million prompts.
bench: $(READY)
	mkdir -p .benchmarks
	$(BIN)/python -m pytest tests/benchmarks -m "timed or scale" --benchmark-quiet --benchmark-json=.benchmarks/bench.json

# The other orchestrators that `make bench` puts beside ours where it finds them.
peers: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,peers]'

# Into the README goes what the last `make bench` found.
table: $(READY)
	$(BIN)/python tests/benchmarks/readme.py .benchmarks/bench.json README.md

# The example report in reports/example and its picture, in two minutes.
report: $(READY)
	$(BIN)/python -m tests.gallery

# The notebooks with the outputs that a reader on a code host sees, in two minutes; the machine should do nothing else.
notebooks: $(READY)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

# The judged repetitions of every fault; its table is tests/soak/RESULTS.md.
soak: $(READY)
	$(BIN)/python -m pytest -m soak tests/soak

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "quark-bench needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
