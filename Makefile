# The whole contributor interface; .ci/run calls the same targets.
# ARGS is passed on: make test ARGS="-k cancel"
.PHONY: help setup demo test lint bench clean
.DEFAULT_GOAL := help

# Else every actor of every test compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make setup   make .venv, and get what that needs"
	@echo "make demo    count words with a tree of actors"
	@echo "make test    run the tests"
	@echo "make lint    check style, format and types"
	@echo "make bench   measure"
	@echo "make clean   remove .venv, caches and builds"

setup:
	@scripts/setup

demo: setup
	@.venv/bin/python examples/wordcount.py $(ARGS)

test: setup
	@.venv/bin/python -m pytest $(ARGS)

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: setup
	@.venv/bin/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
