PY := .venv/bin/
.DEFAULT_GOAL := check

.venv/installed: pyproject.toml
	python3 -m venv .venv
	$(PY)pip install -q -U pip
	$(PY)pip install -q -e . --group dev
	@touch $@

setup: .venv/installed   ## make .venv and install everything

check: setup lint types imports test   ## everything CI runs
lint: setup    ; $(PY)ruff format --check . && $(PY)ruff check .
types: setup   ; $(PY)mypy && $(PY)pyright --pythonpath $(PY)python
imports: setup ; $(PY)lint-imports
test: setup    ; $(PY)pytest -q

demo: setup    ; $(PY)telltale demo
kafka: setup   ; $(PY)python -m tests.kafka_broker

.PHONY: setup check lint types imports test demo kafka
