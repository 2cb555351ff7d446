# Vitrine's commands. `make help` lists them; every one sets up what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
MEMBERS := shared services/embedder services/indexer services/trainer services/search-api local clients/python
SETUP := .venv/.vitrine-set-up
# Names of the members, which the lock must leave out: they are installed from their folders.
OWN := vitrine-shared vitrine-embedder vitrine-indexer vitrine-trainer vitrine-search-api vitrine-local vitrine-client

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(SETUP) ## Install everything into .venv, from requirements.lock alone

$(SETUP): requirements.lock deploy/setup.sh $(MEMBERS:%=%/pyproject.toml)
	@bash deploy/setup.sh $(MEMBERS)
	@touch $@

.PHONY: demo
demo: setup ## Index a drawn catalogue, show a search, stay up (ONCE=1: exit after the search)
	@$(BIN)/vitrine demo $(if $(ONCE),--once)

.PHONY: up
up: setup ## Start every service on this machine (DATA=.vitrine PORT=8000)
	@$(BIN)/vitrine up --data $(or $(DATA),.vitrine) --port $(or $(PORT),8000)

# Root may install a browser; without one the tests that need it skip and say so.
.PHONY: browser
browser:
	@if [ "$$(id -u)" = 0 ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null \
	  || echo "Chromium could not be installed: the browser tests will skip" >&2; fi

.PHONY: test
test: setup browser ## Run every test, in two processes (ARGS="-k name" to choose)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 25 $(ARGS)

.PHONY: lint
lint: setup ## Check style, formatting and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

.PHONY: types
types: setup ## Check types (mypy strict)
	@$(BIN)/mypy shared/vitrine services/embedder/embedder services/indexer/indexer services/trainer/trainer services/search-api/search_api local/vitrine_local clients/python/vitrine_client tests tools benchmarks

.PHONY: format
format: setup ## Rewrite the code in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: setup ## Print the embedder's table, and the search's where VITRINE_URL and PICTURES name a system (minutes)
	@$(BIN)/python -m benchmarks.embedder $(ARGS)
	@if [ -n "$$VITRINE_URL" ]; then $(BIN)/python -m benchmarks.search --pictures $(PICTURES); fi

.PHONY: docs
docs: setup ## Write the generated pages anew (configuration, recipes, OpenAPI) and the client's models
	@$(BIN)/python -m tools.configuration_table
	@$(BIN)/python -m tools.recipe_table
	@$(BIN)/python -m search_api.print_openapi > docs/openapi/search-api.json
	@$(BIN)/python -m embedder.openapi > docs/openapi/embedder.json
	@$(BIN)/python -m tools.client_models

.PHONY: vendor
vendor: setup ## Fetch the files of other projects that the pages load (LOCK=1: take their hashes)
	@$(BIN)/python -m tools.vendor $(if $(LOCK),--lock)

.PHONY: screenshots
screenshots: setup browser ## Take the pictures of the pages in docs/pictures (minutes)
	@$(BIN)/python -m tools.screenshots

.PHONY: lock
lock: setup ## Resolve requirements.lock anew (UPGRADE=1: to the newest releases)
	@.venv/bin/uv pip compile pyproject.toml $(MEMBERS:%=%/pyproject.toml) --all-extras --group dev --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  $(OWN:%=--no-emit-package %) $(if $(UPGRADE),--upgrade) --quiet --output-file requirements.lock

.PHONY: dist
dist: setup ## Build the wheels of all members and of vitrine-search, which installs them all, into dist
	@$(BIN)/python -m tools.dist

.PHONY: version
version: setup ## Set the version of everything (V=0.2.0)
	@$(BIN)/python -m tools.version $(V)

.PHONY: clean
clean: ## Remove the environment and caches (never the data)
	@rm -rf .venv .uv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache
