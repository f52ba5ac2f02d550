# Stoker. A fresh machine needs Python 3.10+ and make: `make demo` shows the product, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint unit bench soak clean install examples-env brokers

install: $(VENV)/.dev
$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Stoker needs Python 3.10 or newer; set PYTHON=python3.x") if sys.version_info < (3, 10) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e .
	touch $@
$(VENV)/.dev: $(VENV)/.base
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]'
	touch $@

demo: $(VENV)/.base
	$(BIN)/python examples/demo.py

examples-env: install
	$(PYTHON) examples/environment.py .cache/examples-env

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# A test that hangs fails with its stacks printed; it must not take the whole run with it.
unit: install
	$(BIN)/python -m pytest --timeout 300

# Brokers that tests of triggers start by themselves; without them these tests skip here and fail in CI.
BROKERS := redis-server nats-server rabbitmq-server
brokers:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		missing=; for name in $(BROKERS); do test -x "/usr/bin/$$name" || test -x "/usr/sbin/$$name" || missing="$$missing $$name"; done; \
		if [ -n "$$missing" ]; then \
			export DEBIAN_FRONTEND=noninteractive; \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
		fi; \
	fi

test: lint examples-env brokers unit

bench: install
	$(BIN)/python -m benchmarks --short

MINUTES ?= 10
SEED ?= 1
soak: install
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
