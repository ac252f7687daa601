# The virtual environment is made once; `make setup` repairs it whenever pyproject.toml changes.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: setup demo test test-thorough check format protos protos-check bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==2.13.*"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: setup
	$(BIN)/fleetfit demo

test: setup
	$(BIN)/python -m pytest -m "not thorough"

test-thorough: setup
	$(BIN)/python -m pytest -m thorough

check: setup protos-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Generated code is committed. It is made with one pinned compiler, in an environment of its own, because that compiler
# holds protobuf below the version that the orchestrator runs with.
PROTO_VENV := .venv-protos
PROTOC := $(PROTO_VENV)/bin/python -m grpc_tools.protoc

$(PROTO_VENV)/.installed: Makefile
	test -x $(PROTO_VENV)/bin/python || $(PYTHON) -m venv $(PROTO_VENV)
	$(PROTO_VENV)/bin/python -m pip install --quiet "grpcio-tools==1.76.0" "mypy-protobuf==3.7.*"
	touch $@

protos: $(PROTO_VENV)/.installed
	PATH="$(CURDIR)/$(PROTO_VENV)/bin:$$PATH" $(PROTOC) -I protos --python_out=protos --grpc_python_out=protos \
		--mypy_out=quiet:protos --mypy_grpc_out=quiet:protos $$(find protos -name '*.proto' | sort)

protos-check: protos
	git diff --exit-code -- protos || { echo "generated code differs: commit what 'make protos' wrote"; exit 1; }
	test -z "$$(git ls-files --others --exclude-standard -- protos)" || { echo "generated files are not committed"; exit 1; }

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(PROTO_VENV) build dist
