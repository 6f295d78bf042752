# One command before every commit; .ci/run does the same in clean environments.
PYTHON ?= python

.PHONY: check format test lint types floors licences

check: lint types floors licences test

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

floors:
	lint-imports

licences:
	$(PYTHON) checks/licences.py

test:
	$(PYTHON) -m pytest
