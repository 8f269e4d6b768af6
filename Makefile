# `make demo` and `make test` do all their own set-up; the environments are re-used while
# pyproject.toml and the constraints stay as they are.
PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench/bin
PIP := python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-processors campaign lint bench bench-gpu experiments docs clean

demo: .venv/demo.stamp
	$(BIN)/infogeo demo -o out

# Two processes of one thread each: what two cores can do.
test: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The numerical tests as other processors would run them: one kind after the other.
test-processors: .venv/dev.stamp
	$(BIN)/python tests/processors.py

# Long random searches with fixed seeds, what takes long, and jax in double precision.
campaign: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m campaign -n 2 tests

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Writes the tables of docs/ anew, if nothing fails.
bench: .venv-bench/bench.stamp
	$(BENCH)/python -m pytest -c benchmarks/pytest.ini benchmarks --benchmark-only --benchmark-columns=min,median,rounds --docs

# The tests that need a GPU, and a table of what it reaches beside its limits, in at most eight minutes.
bench-gpu: .venv/dev.stamp
	$(BIN)/python benchmarks/gpu.py

# Writes the tables and figures of docs/experiments.md anew, if nothing fails: `make experiments DATA=DIR` those of
# MNIST's test images, too.
experiments: .venv/dev.stamp
	$(BIN)/python experiments/run.py $(if $(DATA),--data $(DATA))

# On one thread: the examples train small networks, for which two only wait for each other.
docs: .venv/docs.stamp
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv .venv-bench out docs/_build .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e '.[all]'
	@touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e '.[all,dev]'
	@touch $@

.venv/docs.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

.venv-bench/bench.stamp: pyproject.toml constraints-bench.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/$(PIP) -c constraints-bench.txt -e '.[all]' -r benchmarks/requirements.txt
	$(BENCH)/$(PIP) -c constraints-bench.txt --no-deps pyBregMan  # asks for numpy < 2, works with 2
	@touch $@
