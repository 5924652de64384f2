# Needs make and a Python >= 3.11 with venv; everything else is installed into .venv as constraints.txt pins it.
# `make help` lists the targets. PYTHON=... chooses the interpreter, PORT=... the demo's port.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PORT ?= 8000
VENV ?= .venv
DEMO_VENV ?= .venv-demo
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

CODE := $(wildcard src tests examples benchmarks scripts)
LEFT_OUT := not search and not torture and not webservers
# The tests that need no server, browser or Node.js and take no minutes run on all cores. The others wait more than they work, and each process
# of theirs starts its own servers: so two, a file at a time; one where the environment names the servers, as some tests count all that these are asked.
ALL_CORES := -n auto --dist worksteal
TWO := -n $(if $(filter SOJOURN_TEST_%,$(.VARIABLES)),1,2) --dist loadfile
MAYBE_NONE = $(if $(ARGS),|| [ $$? = 5 ]) # what ARGS choose may all be in one half
QUICK := -q $(ALL_CORES) -m "not (server or browser or express or package) and $(LEFT_OUT)"
PINS := pyproject.toml constraints.txt
# Build backends come from the same pins as everything else.
UV_INSTALL = pip install --quiet --constraints constraints.txt --build-constraints constraints.txt

# A virtual environment is made anew only when what it holds has changed: $(call venv,<folder>,<what to install>).
define venv
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found; set PYTHON to one" >&2; exit 1; }
	@echo "== $(1): $$($(PYTHON) --version), pinned by constraints.txt"
	@rm -rf $(1) && $(PYTHON) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(1)/bin/uv $(UV_INSTALL) --python $(1)/bin/python $(2)
	@touch $(1)/.stamp
endef

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

$(VENV)/.stamp: $(PINS)
	$(call venv,$(VENV),--group dev --editable '.[all]')

$(DEMO_VENV)/.stamp: $(PINS)
	$(call venv,$(DEMO_VENV),--editable '.[demo]')

.PHONY: venv
venv: $(VENV)/.stamp ## the environment of all the targets below

.PHONY: demo
demo: $(DEMO_VENV)/.stamp ## the demo at http://127.0.0.1:$(PORT), until Ctrl-C
	@exec $(DEMO_VENV)/bin/sojourn demo --port $(PORT)

.PHONY: test
test: ## everything that is checked before a commit lands
	@$(MAKE) --no-print-directory check-format
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory check-tests
	@$(MAKE) --no-print-directory search
	@$(MAKE) --no-print-directory check-coverage
	@$(MAKE) --no-print-directory docs
	@echo "== make test: format, lint, types, tests, coverage gate and docs all passed on $$($(BIN)/python --version)"

.PHONY: quick
quick: ## format, lint, types, and the tests that need no server, browser or Node.js
	@$(MAKE) --no-print-directory check-format
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory quick-tests
	@echo "== make quick: format, lint, types and quick tests passed on $$($(BIN)/python --version)"

.PHONY: quick-tests
quick-tests: $(VENV)/.stamp
	@echo "== quick tests"
	@$(BIN)/python -m pytest $(QUICK) $(ARGS)

.PHONY: interpreters
interpreters: $(VENV)/.stamp ## the quick tests on every CPython >= 3.11 that is here
	@$(BIN)/python -m scripts.interpreters $(QUICK) $(ARGS)

.PHONY: check-format
check-format: $(VENV)/.stamp
	@echo "== format"
	@$(BIN)/ruff format --check .

.PHONY: lint
lint: $(VENV)/.stamp ## ruff, nearly all rules
	@echo "== lint"
	@$(BIN)/ruff check .

.PHONY: types
types: $(VENV)/.stamp ## mypy --strict, and a type for every public name
	@echo "== types"
	@$(BIN)/mypy $(CODE)
	@$(BIN)/python -m scripts.public_types

.PHONY: check-tests
check-tests: $(VENV)/.stamp browser node-peers
	@echo "== tests"
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest $(QUICK) $(ARGS) $(MAYBE_NONE)
	@$(BIN)/coverage run -m pytest $(TWO) -m "(server or browser or express or package) and $(LEFT_OUT)" $(ARGS) $(MAYBE_NONE)

# Apart, as measuring coverage would make minutes of it: the shorter searches cover the same lines.
.PHONY: search
search: $(VENV)/.stamp ## the exhaustive searches, on all cores
	@echo "== searches"
	@$(BIN)/python -m pytest -q $(ALL_CORES) -m search

.PHONY: check-coverage
check-coverage: $(VENV)/.stamp
	@echo "== coverage"
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage json --quiet -o coverage.json
	@$(BIN)/coverage report
	@$(BIN)/python -m scripts.coverage_gate coverage.json

.PHONY: docs
docs: $(VENV)/.stamp ## the documentation, in docs/_build; warnings are errors
	@echo "== docs"
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet -b html docs docs/_build
	@echo "docs/_build/index.html"

.PHONY: flask-suite
flask-suite: $(VENV)/.stamp ## Flask's own tests, from its source distribution, on our sessions
	@$(BIN)/python -m scripts.flask_suite $(ARGS)

# The oldest versions that the extras allow; what tests need besides comes from the pins, where these leave room.
OLDEST_EXTRAS := starlette fastapi flask quart aiohttp litestar pyramid
OLDEST_TESTS := tests/doors/test_frameworks.py tests/doors/test_starlette.py tests/doors/test_fastapi.py \
	tests/doors/test_fastapi_models.py tests/doors/test_flask_[a-r]*.py tests/doors/test_flask_session.py tests/doors/test_quart.py \
	tests/doors/test_aiohttp.py tests/doors/test_aiohttp_[a-r]*.py tests/doors/test_aiohttp_security.py \
	tests/doors/test_litestar.py tests/doors/test_litestar_auth.py tests/doors/test_litestar_models.py \
	tests/doors/test_pyramid.py tests/doors/test_pyramid_settings.py tests/doors/test_coming_from_pyramid.py
OLDEST_TOOLS := anyio trio pytest hypothesis httpx itsdangerous python-multipart starsessions asgiref flask-login flask-sqlalchemy flask-wtf \
	jinja2 cryptography pymongo 'redis[hiredis]' aiohttp-session aiohttp-security webtest pyramid-retry pyramid-debugtoolbar \
	'setuptools<81' # whose pkg_resources Pyramid 2.0 imports
OLDEST_VENV := .venv-oldest-doors

$(OLDEST_VENV)/.stamp: $(PINS)
	@rm -rf $(OLDEST_VENV) && $(PYTHON) -m venv $(OLDEST_VENV)
	@$(OLDEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(OLDEST_VENV)/bin/uv pip install --quiet --python $(OLDEST_VENV)/bin/python --resolution lowest-direct \
		-r pyproject.toml $(OLDEST_EXTRAS:%=--extra %)
	@$(OLDEST_VENV)/bin/uv pip install --quiet --python $(OLDEST_VENV)/bin/python --editable . $(OLDEST_TOOLS)
	@touch $@

.PHONY: oldest-doors
oldest-doors: $(OLDEST_VENV)/.stamp ## the doors' tests, on the oldest versions of the frameworks
	@echo "== the oldest of: $(OLDEST_EXTRAS)"
	@$(OLDEST_VENV)/bin/python -m pytest -q -o filterwarnings= $(OLDEST_TESTS) $(ARGS)

.PHONY: starlette-suite
starlette-suite: $(VENV)/.stamp ## Starlette's own tests of its sessions, run on ours
	@$(BIN)/python -m scripts.starlette_suite

.PHONY: aiohttp-suite
aiohttp-suite: $(VENV)/.stamp ## aiohttp-session's own tests, run on ours
	@$(BIN)/python -m scripts.aiohttp_suite

.PHONY: django-versions
django-versions: $(VENV)/.stamp ## the tests of Django's sessions, its own and ours, on every version of Django
	@$(BIN)/python -m scripts.django_versions $(ARGS)

.PHONY: django-suite
django-suite: $(VENV)/.stamp ## Django's own tests on our sessions
	@$(BIN)/python -m scripts.django_suite $(ARGS)

.PHONY: litestar-suite
litestar-suite: $(VENV)/.stamp ## Litestar's own tests of its sessions, run on ours; LITESTAR=path is a checkout of it
	@LITESTAR="$(LITESTAR)" $(BIN)/python -m scripts.litestar_suite

.PHONY: torture
torture: $(VENV)/.stamp ## long randomized runs of the stores
	@$(BIN)/python -m pytest -o faulthandler_timeout=0 -m torture $(ARGS)

.PHONY: matrix
matrix: $(VENV)/.stamp ## servers that fail under load: what is lost, doubled or revived; ARGS="pgbouncer --seconds 30"
	@$(BIN)/python -m scripts.matrix $(ARGS)

.PHONY: servers
servers: $(VENV)/.stamp ## the examples under every web server, on every store
	@$(BIN)/python -m pytest tests/webservers $(ARGS)

.PHONY: bench
bench: $(VENV)/.stamp node-peers ## the benchmarks, beside their peers
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: release
release: $(VENV)/.stamp ## sdist and wheel in dist/, checked and tried, and published by nobody; VERSION=1.0.0 checks that it is that
	@$(BIN)/python -m scripts.release $(VERSION)

.PHONY: diagrams
diagrams: $(VENV)/.stamp ## the diagrams of the documentation, from their sources
	@$(BIN)/python -m scripts.diagrams

.PHONY: format
format: $(VENV)/.stamp ## format the code, and mend what ruff can mend
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

.PHONY: browser
browser: $(VENV)/.stamp ## find a Chromium for the browser test, or install one
	@$(BIN)/python -m scripts.find_browser --install

.PHONY: node-peers
node-peers: tests/node/node_modules/.stamp ## the Express peers, by Node.js from PATH or from a wheel

tests/node/node_modules/.stamp: tests/node/package.json tests/node/package-lock.json | $(VENV)/.stamp
	@$(BIN)/python -m scripts.node_peers
	@touch $@

.PHONY: lock
lock: $(VENV)/.stamp ## pin everything anew: constraints.txt and tests/node/package-lock.json
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
		--strip-extras --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-index-annotation \
		--custom-compile-command "make lock" -o constraints.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--strip-extras --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-index-annotation \
		--custom-compile-command "make lock" -o tests/doors/frameworks_apart.txt tests/doors/frameworks_apart.in
	@cd tests/node && rm -f package-lock.json \
		&& npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error

.PHONY: clean
clean: ## remove everything that was made
	rm -rf $(VENV) $(DEMO_VENV) $(wildcard .venv-*) build dist docs/_build htmlcov coverage.json .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache tests/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
