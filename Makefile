# Short names for the commands; ARGS passes settings on, as in: make train ARGS="model.num_slots=6 device=cuda"
PYTHON ?= python
ARGS ?=

.PHONY: help install test test-slow lint format train generate evaluate export demo docs ci clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: ## what running, testing and linting need
	$(PYTHON) -m pip install -r requirements-dev.txt

test: ## the fast tests
	$(PYTHON) -m pytest $(ARGS)

test-slow: ## the slow tests
	$(PYTHON) -m pytest -m slow $(ARGS)

lint: ## style, types, layers
	ruff check .
	ruff format --check .
	pyright
	lint-imports

format: ## put the code in order
	ruff check --fix .
	ruff format .

train: ## both phases, scores and pictures
	$(PYTHON) -m src.train $(ARGS)

generate: ## new pictures from the best checkpoint
	$(PYTHON) -m src.generate $(ARGS)

evaluate: ## a report on the best checkpoint: numbers, pictures, a page
	$(PYTHON) -m src.evaluate $(ARGS)

export: ## encoder and decoder of the best checkpoint as .pt2 and .onnx
	$(PYTHON) -m src.export $(ARGS)

demo: ## a page where scenes are edited by their codes
	$(PYTHON) -m src.demo $(ARGS)

docs: ## the documentation site, into site/
	$(PYTHON) -m website.configuration
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

ci: ## everything a change must pass, in a fresh environment
	bash .ci/run

clean: ## what tools wrote; logs/, checkpoints/, samples/ and evaluation/ stay
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests website -name __pycache__ -type d -prune -exec rm -rf {} +
