# Two commands: "make all" runs the main job, "make test" the tests. "make help" lists the rest.
CONFIG ?= configs/digits.yaml
# Without RUN, the run folder is that of CONFIG with ARGS: runs/NAME, or runs/NAME-2 and so on where that holds another run.
RUN ?=
SEEDS ?=
SWEEP ?= configs/sweep.yaml
TRIALS ?=
WORKERS ?=
ARGS ?=
DATA ?= data/MNIST/raw
ADVISORIES ?= advisory-database
PYTHON ?= python3
TORCH ?=

# What CUDA shows to a program: those of CUDA_VISIBLE_DEVICES up to the first that is none, or all; of GPUs cut by MIG one part.
GPUS := $(shell if [ "$${CUDA_VISIBLE_DEVICES+set}" ]; then echo "$$CUDA_VISIBLE_DEVICES" | tr , '\n' | awk '/^ *-/ {exit} NF {n++} END {print n+0}'; \
	else nvidia-smi --list-gpus 2>/dev/null | awk '/^GPU/ {n++} /^ +MIG/ {mig=1} END {print mig ? 1 : n+0}'; fi)
LAUNCH ?= launch/$(if $(filter 0,$(GPUS)),cpu,$(if $(filter 1,$(GPUS)),one_gpu,multi_gpu)).yaml
# On CPUs the program itself chooses the number of processes, by the size of the model.
PROCESSES ?= $(if $(filter 0,$(GPUS)),,$(GPUS))
STARTED = --launch $(LAUNCH) $(if $(PROCESSES),--processes $(PROCESSES))

BIN := .venv/bin
PIPELINE := $(BIN)/python -m pipeline
# Nothing is installed that the lock does not name by its hash, and nothing is built: a source distribution runs code of its own.
LOCKED := --quiet --disable-pip-version-check --require-hashes --only-binary :all:
# No servers, no compiler, no other processes, no large files, and not the one test of hundreds of models.
QUICK := tests/test_architecture.py tests/test_configs.py tests/config tests/data tests/model tests/training \
	--ignore=tests/data/sources --ignore=tests/data/readers/test_limits.py --ignore=tests/data/readers/test_row_order.py \
	--ignore=tests/model/test_cpu_lstm.py --deselect \
	tests/model/test_classifier.py::test_logits_of_a_series_are_those_it_has_alone_whatever_stands_in_its_padding_and_beside_it
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes --no-annotate --custom-compile-command "make lock" $(ARGS)
# run.dir comes before ARGS, where the user may set another one together with RUN
# The doctor examines all GPUs by itself; with LAUNCH or PROCESSES, the processes that they start examine each other.
GIVEN = $(filter command environment,$(origin $(1)))
EXAMINE = $(PIPELINE) doctor $(if $(call GIVEN,CONFIG),--config $(CONFIG)) $(ARGS) $(if $(call GIVEN,LAUNCH)$(call GIVEN,PROCESSES),$(STARTED))
SETTINGS = --config $(CONFIG) $(if $(RUN),run.dir=$(RUN)) $(ARGS)
# of "all" training takes ARGS; a target that is alone is told them, and says what it cannot use
ALONE = $(if $(RUN),$(filter-out run.dir=%,$(ARGS)))
OF_RUN = $(if $(RUN),--run $(or $(lastword $(patsubst run.dir=%,%,$(filter run.dir=%,$(ARGS)))),$(RUN)),$(SETTINGS))
# What a target runs, and "all" one after the other: the first that fails is the last, with its own exit status.
PREPARE = $(PIPELINE) prepare $(SETTINGS)
TRAIN = $(PIPELINE) train $(SETTINGS) $(STARTED)
REPEAT = $(PIPELINE) seeds --count $(or $(SEEDS),5) $(SETTINGS) $(STARTED)
SWEEPING = --sweep $(SWEEP) $(if $(RUN),--run $(RUN)) $(if $(TRIALS),--trials $(TRIALS)) $(if $(SEEDS),--seeds $(SEEDS)) \
	$(if $(WORKERS),--workers $(WORKERS))
EVALUATE = $(PIPELINE) evaluate $(OF_RUN)
EXPORT = $(PIPELINE) export $(OF_RUN)
REPORT = $(PIPELINE) report $(OF_RUN)
SUMMARY = $(PIPELINE) summary $(OF_RUN)
# A variable of the command line that nothing here reads would be ignored without a word: config=..., or a key beside ARGS.
LETTERS := a b c d e f g h i j k l m n o p q r s t u v w x y z
TYPED := $(foreach word,$(MAKEOVERRIDES),$(if $(filter command,$(firstword $(origin $(firstword $(subst =, ,$(word)))))),$(firstword $(subst =, ,$(word)))))
IGNORED := $(strip $(foreach name,$(TYPED),$(if $(strip $(foreach letter,$(LETTERS),$(findstring $(letter),$(name)))),$(name))))
IN_CAPITALS := $(filter config run args launch processes data test output,$(firstword $(IGNORED)))
ifneq ($(IGNORED),)
$(error there is no variable $(firstword $(IGNORED)); type $(if $(IN_CAPITALS),it in capitals: CONFIG=FILE.yaml RUN=runs/NAME and so on,ARGS="$(firstword $(IGNORED))=$($(firstword $(IGNORED)))"))
endif
ifneq ($(filter DATA,$(TYPED)),)
ifeq ($(filter init bench bench-full,$(MAKECMDGOALS)),)
$(error DATA is for "make init"; then type: make $(firstword $(MAKECMDGOALS)) CONFIG=FILE.yaml)
endif
endif
.DEFAULT_GOAL := help
.PHONY: help setup init check doctor prep prepare tune train eval evaluate export report all seeds sweep summary runs test test-long test-quick faults cluster-test soak mutants gpu-rehearsal lint audit lock bench bench-full bench-scale clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  with CONFIG=configs/mnist.yaml  ARGS=\"section.key=value ...\"  RUN=runs/NAME  LAUNCH=launch/FILE.yaml  PROCESSES=N  SEEDS=N  SWEEP=FILE"

setup: .venv/installed ## create .venv with the locked dependencies

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(LOCKED) -r requirements.lock
	@touch $@

init: setup ## write a configuration for the file or folder DATA  (TEST, OUTPUT, ARGS)
	@$(if $(call GIVEN,DATA),,echo "error: name your file or folder: make init DATA=FILE" >&2; exit 2;) $(PIPELINE) init "$(DATA)" $(if $(TEST),--test "$(TEST)") $(if $(OUTPUT),--output "$(OUTPUT)") $(ARGS)

check: setup ## dry run: parameters, steps, memory, changed keys
	@$(PIPELINE) check $(SETTINGS)

doctor: setup ## what this machine can do, and whether all promises hold on it  (LAUNCH, PROCESSES)
	@$(EXAMINE)

prep: setup ## prepare the data of CONFIG
	@$(PREPARE)

tune: setup ## measure which batch, threads and rate to train CONFIG with
	@$(PIPELINE) tune $(SETTINGS)

train: setup ## train or resume RUN on every GPU, or on the CPUs
	@$(TRAIN)

prepare: prep

evaluate: eval

eval: setup ## measure the best checkpoint of RUN on the test split
	@$(EVALUATE) $(ALONE)

export: setup ## write safetensors, ONNX and torch.export files of RUN, each checked
	@$(EXPORT) $(ALONE)

report: setup ## write report.html of RUN: what it gave, and the model itself, in one file for any browser
	@$(REPORT) $(ALONE)

all: setup ## everything: prepare, train, evaluate, export, report, summary; SEEDS=5: prepare, seeds; ARGS=train.folds=5: prepare, train
	@$(PREPARE)
ifneq ($(SEEDS),)
	@$(REPEAT)
else
	@$(TRAIN)
ifeq ($(filter-out train.folds=0,$(filter train.folds=%,$(ARGS))),)
	@$(EVALUATE)
	@$(EXPORT)
	@$(REPORT)
	@$(SUMMARY)
endif
endif

seeds: setup ## train and evaluate CONFIG with SEEDS seeds: mean and standard deviation
	@$(REPEAT)

sweep: setup ## try the values in SWEEP, or go on with it, WORKERS at a time; the best by the validation split  (TRIALS, SEEDS)
	@$(PIPELINE) sweep --config $(CONFIG) $(SWEEPING) $(ARGS)

test: setup ## most of the tests, in five minutes on two cores; "make test-long" has those that take long, "make faults" the slow faults
	@$(BIN)/python -m pytest -m "not slow and not long" $(ARGS)

test-long: setup ## the tests that "make test" leaves out: half an hour of real processes
	@$(BIN)/python -m pytest -m "long and not slow" $(ARGS)

test-quick: setup ## the tests of one process that take half a minute: while you work
	@$(BIN)/python -m pytest -m "not slow" $(QUICK) $(ARGS)

faults: setup ## every fault, injected: kills, hangs, full disks, hostile files (some need root, strace and ip)
	@$(BIN)/python -m pytest tests/faults $(ARGS)

cluster-test: setup ## several hosts and a SLURM on this machine, 15 minutes at most; root; installs slurm-wlm, munge, iproute2
	@[ "$$(id -u)" = 0 ] || { echo "error: hosts are made of namespaces, which only root may make; type: sudo make cluster-test" >&2; exit 2; }
	@lacking=; for pair in slurmctld:slurm-wlm munged:munge ip:iproute2 nsenter:util-linux; do \
		command -v "$${pair%%:*}" >/dev/null || lacking="$$lacking $${pair##*:}"; done; [ -z "$$lacking" ] || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$lacking >/dev/null; } || \
		{ echo "error: install$$lacking by your system's package manager, then type: make cluster-test" >&2; exit 2; }
	@exec setpriv --pdeathsig TERM $(BIN)/python -m tests.cluster.hosts $(ARGS)

soak: setup ## kill a run 100 times in random ways and compare its end with that of a run left alone
	@$(BIN)/python -m tests.faults.soak --kills 100

mutants: setup ## put small faults into a copy of the program, one at a time: the tests must fail of each
	@$(BIN)/python -m tests.mutants $(ARGS)

gpu-rehearsal: setup ## what a step does on GPUs, without one: launches, copies, waits; TORCH=DIR for another torch, unpacked in DIR
	@$(if $(TORCH),PYTHONPATH=$(TORCH)) $(BIN)/python -m pytest tests/gpu $(ARGS)

lint: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

audit: setup ## look for the pins of the lock files in ADVISORIES, a checkout of PyPA's advisory database
	@$(BIN)/python .ci/audit.py $(ADVISORIES) requirements.lock requirements-bench.lock

lock: setup ## write the lock files anew from pyproject.toml; ARGS="--upgrade-package NAME" or ARGS=--upgrade for newer versions
	@$(COMPILE) pyproject.toml --all-extras --group dev --output-file requirements.lock
	@$(COMPILE) --group bench --constraint requirements.lock --output-file requirements-bench.lock \
		$$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock | sort -u)

summary: setup ## what RUN gave, where it lies, what to type next
	@$(SUMMARY) $(ALONE)

runs: setup ## list the runs in runs/: state, metrics, what differs, time, size
	@$(PIPELINE) runs $(ARGS)

bench: setup ## time the training loop against a bare one
	@$(BIN)/python -m tests.benchmarks.quick

.venv-bench/installed: requirements.lock requirements-bench.lock
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install $(LOCKED) -r requirements.lock -r requirements-bench.lock
	@touch $@

bench-full: .venv-bench/installed ## half an hour: beside its peers, with MNIST in DATA; writes docs/bench*
	@.venv-bench/bin/python -m tests.benchmarks.full --data $(DATA) --json docs/bench.json --plot docs/bench.png --page docs/benchmarks.md $(ARGS)

bench-scale: setup ## how the cost of each stage grows with rows, columns, channels, classes, steps and more; ARGS="--only WORD"
	@$(BIN)/python -m tests.benchmarks.scale $(ARGS)

clean: ## remove caches and prepared data; runs/, data/, .venv and .venv-bench stay
	rm -rf prepared .mutants .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
