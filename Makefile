# Everything runs inside $(VENV); nothing else on the machine is changed except by `make servers`, which `make test`
# calls and which may install a Redis server, Maven and Prometheus where it is allowed to.
PYTHON ?= python3
VENV ?= .venv
# One wheel of ONNX Runtime: the CUDA build where the driver answers, else the CPU build.
RUNTIME ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
OTHERS = $(wildcard $(addprefix $(VENV)/.,$(filter-out $(RUNTIME),cpu gpu openvino)))
# Processes that the tests are spread over, file by file: two a core, since half of them wait for servers. Each starts a
# Kafka of its own; together they take 2 GB.
WORKERS ?= 4
DATA ?= $(or $(ASTROM3_DATA),../shared/data)
BIN := $(VENV)/bin
# Alerts whose own normal a bundle is given, and the stars that must not be among them.
STREAM = --alerts $(DATA)/alerts/ztf $(DATA)/alerts/lsst --trained-on $(DATA)/lightcurves/catalina_sss.parquet
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test slow types servers check format train baselines seeds report normal bench gpu drill fuzz guided clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.$(RUNTIME) ## Play a simulated night through the real consumer and write a report; no server needed
	$(BIN)/broker-plugin demo

test: servers ## Run all tests, against a real Kafka, Redis and schema registry
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 30

slow: $(VENV)/.dev ## Run the long science that CI leaves out: minutes a test
	$(BIN)/python -m pytest -m slow

types: $(VENV)/.dev ## Check the types
	$(BIN)/mypy

servers: $(VENV)/.dev ## Fetch what `make test` starts, the GPU and OpenVINO wheels, and what checks deployments
	$(BIN)/broker-plugin doctor --warm # else the first tests to start a service wait for compilers
	$(BIN)/python -m tests.support.provision --wheels --deployment

check: $(VENV)/.dev ## Format, lint, types and tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs 2 types servers
	$(MAKE) test

format: $(VENV)/.dev ## Format the code and sort its imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(VENV)/.dev ## Train the default bundle again from the light curves in $(DATA), and fit it to the alerts there
	$(BIN)/trainer train --config trainer/configs/default.toml --data $(DATA) --out runs/default
	$(BIN)/trainer fit-anomaly --bundle runs/default/bundle $(STREAM) --out broker_plugin/bundles/default

baselines: $(VENV)/.dev ## Train and measure what the default bundle is compared with
	$(BIN)/trainer baselines --data $(DATA) --out runs/default

seeds: $(VENV)/.dev ## Train the default bundle four times more with other seeds, to know the spread; hours
	$(BIN)/trainer seeds --run runs/default --data $(DATA)

report: $(VENV)/.dev ## Put the evaluation of the default bundle into one page, runs/default/report/report.html
	$(BIN)/trainer cross-survey --bundle default --data $(DATA) --out runs/default
	$(BIN)/trainer report --run runs/default --bundle default --data $(DATA)/lightcurves/catalina_sss.parquet \
		--out runs/default/report

normal: $(VENV)/.dev ## Fit the default bundle's anomaly p-values to the real alerts in $(DATA), into runs/normal
	$(BIN)/trainer fit-anomaly --bundle default $(STREAM) --out runs/normal

bench: $(VENV)/.dev ## Measure rates on this machine, into runs/bench, and compare them within one run
	$(BIN)/broker-plugin bench --alerts $(DATA)/alerts --json runs/bench/bench.json --plot runs/bench/bench.svg
	$(BIN)/python -m pytest -m bench tests/bench -s

gpu: $(VENV)/.dev ## See in five minutes what holds on a GPU: tests, parity, rates, memory, all in runs/gpu/gpu.json
	$(BIN)/python -m tests.gpu --data $(DATA)

drill: $(VENV)/.dev ## Kill, hold, starve and cut off what the service needs, at full size, for hours; write the table of outcomes
	$(BIN)/python -m tests.support.provision
	$(BIN)/python -m pytest -m drill tests/drill --timeout 14400 -rA
	$(BIN)/python -m tests.drill.table

fuzz: $(VENV)/.dev ## Judge 100,000 mutants of real packets, goes on where it was stopped (runs/fuzz); 20,000 through Kafka
	OMP_NUM_THREADS=1 NUMBA_BOUNDSCHECK=1 $(BIN)/python -m tests.fuzz --data $(DATA) --mutants 100000 --workers 2 \
		--out runs/fuzz
	$(BIN)/python -m tests.support.provision
	ASTROM3_DATA=$(DATA) $(BIN)/python -m pytest -m drill tests/fuzz/test_through_run.py

guided: $(VENV)/.dev ## Fuzz the decoder by coverage for half an hour (atheris), into runs/fuzz-guided
	$(INSTALL) --editable '.[$(RUNTIME),fuzz]'
	ASTROM3_DATA=$(DATA) $(BIN)/python -m tests.fuzz.guided runs/fuzz-guided -max_total_time=1800

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) .cache build dist demo-report .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# The wheels overwrite each other's files, so one that was installed before the driver came or went leaves first.
$(VENV)/.$(RUNTIME): $(BIN)/uv pyproject.toml constraints.txt $(OTHERS)
	$(if $(OTHERS),$(BIN)/uv pip uninstall --quiet --python $(BIN)/python onnxruntime onnxruntime-gpu \
		onnxruntime-openvino)
	@rm -f $(OTHERS)
	$(INSTALL) --editable '.[$(RUNTIME)]'
	@touch $@

$(VENV)/.dev: $(VENV)/.$(RUNTIME)
	$(INSTALL) --editable '.[$(RUNTIME),train,map,lsst-schemas,dev]'
	@touch $@
