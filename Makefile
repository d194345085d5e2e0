# Everything runs in .venv, made from PYTHON (3.11 or newer) and the hashed locks in requirements/.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help run test conformance long load fuzz chaos check format screenshots bench guard growth bench-peers lock clean venv venv-dev \
	venv-conformance

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: venv ## a demo on http://127.0.0.1:8000: no account, no network, no setup
	@exec $(BIN)/python manage.py run_demo $(ARGS)

test: venv-dev ## the tests; with TEST_DATABASE_URL and TEST_CACHE_URL also those of PostgreSQL and Redis
	@$(BIN)/python -m pytest $(ARGS)

# The gateway runs in .venv as everywhere, the clients in an environment of their own.
conformance: venv venv-conformance ## other people's clients against the running gateway; see development.md
	@TEST_GATEWAY_PYTHON=$(BIN)/python .venv-conformance/bin/python -m pytest -c tests/clients/pytest.ini tests/clients $(ARGS)

# What takes chance as an argument, with much more of it; ten minutes or so.
LONG_TESTS := tests/proxying/test_fault_storm.py tests/proxying/test_fuzz.py tests/proxying/test_sse.py \
	tests/proxying/test_splice.py tests/proxying/test_retry_after.py tests/proxying/adapters \
	tests/routing/test_config_file.py tests/routing/test_durations.py tests/routing/test_policies.py \
	tests/routing/test_health.py tests/routing/test_strategies.py tests/routing/test_router_properties.py
long: venv-dev ## fuzzing and storms of faults, at length; then make load
	@TEST_LONG=1 $(BIN)/python -m pytest $(wildcard $(LONG_TESTS)) $(ARGS)
	@$(BIN)/python -m tests.long.load

load: venv-dev ## pages and API over a million records (needs PostgreSQL): ARGS="--database sqlite --records 100000"
	@$(BIN)/python -m tests.long.load $(ARGS)

fuzz: ## coverage-guided fuzzing of everything that reads bytes from outside: ARGS="--minutes 10"
	@$(PYTHON) requirements/install.py fuzz
	@$(BIN)/python -m tests.long.fuzz $(ARGS)

chaos: venv-dev ## stores, workers, providers and clients fail under load (needs PostgreSQL and Redis): ARGS="--minutes 10"
	@$(BIN)/python -m tests.long $(ARGS)

check: venv-dev ## formatting, lint, types, layers, templates, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	@find gateway_project routing proxying dashboard tests -name '*.py' -not -path '*/migrations/*' -print0 \
		| xargs -0 $(BIN)/django-upgrade --target-version 5.2 --check
	@find templates dashboard -name '*.html' -print0 2>/dev/null \
		| xargs -0 -r $(BIN)/djade --check --target-version 5.2
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING

format: venv-dev ## put code and templates into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@find templates dashboard -name '*.html' -print0 2>/dev/null \
		| xargs -0 -r $(BIN)/djade --target-version 5.2 || true # djade's answer when it changed something

screenshots: venv-dev ## the documentation's pictures anew, of a demo of their own (needs Chromium)
	@$(BIN)/python -m tests.screenshots $(ARGS)

bench: venv-dev ## measure the gateway on this machine; see bench/README.md
	$(BIN)/python -m bench $(ARGS)

guard: venv-dev ## fail when a request has become much more expensive than a bare relay; a minute
	@$(BIN)/python -m bench.guard

growth: venv-dev ## measure a request with many pools and many keys
	@$(BIN)/python -m bench.growth

bench-peers: venv-dev ## every gateway of the registries beside Sluice (into .venv-peers): docs/performance.md
	$(BIN)/python -m bench.compare --publish $(ARGS)

lock: venv-dev ## resolve requirements/*.in again into the hashed locks
	$(COMPILE) $(ARGS) requirements/base.in -o requirements/base.txt
	$(COMPILE) $(ARGS) -c requirements/base.txt requirements/bedrock.in -o requirements/bedrock.txt
	$(COMPILE) $(ARGS) -c requirements/base.txt requirements/fast.in -o requirements/fast.txt
	$(COMPILE) $(ARGS) -c requirements/base.txt requirements/otel.in -o requirements/otel.txt
	$(COMPILE) $(ARGS) -c requirements/base.txt -c requirements/bedrock.txt -c requirements/fast.txt -c requirements/otel.txt requirements/dev.in -o requirements/dev.txt
	$(COMPILE) $(ARGS) -c requirements/base.txt -c requirements/dev.txt requirements/fuzz.in -o requirements/fuzz.txt
	$(COMPILE) $(ARGS) requirements/conformance.in -o requirements/conformance.txt

clean: ## remove what the other targets made (the demo's data in var/ too)
	rm -rf .venv .venv-conformance .venv-peers var staticfiles .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@$(PYTHON) requirements/install.py base

venv-dev:
	@$(PYTHON) requirements/install.py dev

venv-conformance:
	@$(PYTHON) requirements/install.py conformance
