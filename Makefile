# `make` lists the targets. Variables are given after them: make train MODEL=llama RUN=llama-1
MODEL   ?= smollm2
RUN     ?= $(MODEL)
DATASET ?= FinGPT/fingpt-forecaster-dow30-202305-202405
comma   := ,
CARDS   := $(if $(filter undefined,$(origin CUDA_VISIBLE_DEVICES)),$(wildcard /dev/nvidia[0-9]* /dev/dxg),$(filter-out -1,$(CUDA_VISIBLE_DEVICES)))
ACCEL   ?= $(if $(CARDS),single_gpu,cpu)
GPU     ?= $(firstword $(subst $(comma), ,$(CUDA_VISIBLE_DEVICES)) 0)
ADAPTER ?= outputs/$(RUN)
RUNS    ?= $(RUN)
REPORT  ?= compare
INDEX   ?= dow30
PY      := .venv/bin/python
# Threads that wait should sleep: on a machine that does something else too, spinning ones take the others' time.
export OMP_WAIT_POLICY ?= PASSIVE
export ACCEL
ifeq ($(ACCEL),single_gpu)
demo train eval bench: export CUDA_VISIBLE_DEVICES := $(GPU)
endif

help: ## this list
	@awk -F ': .*## ' '/^[a-z]+:.*##/ {printf "  %-9s %s\n", $$1, $$2}' Makefile

setup: .venv/ready ## install what a run needs, pinned, into .venv (once)
.venv/ready: setup.sh requirements.txt requirements.lock
	./setup.sh
	@touch $@

# What tests and checks add. `make test` and `make lint` install it.
.venv/dev: .venv/ready requirements-dev.lock
	./setup.sh dev
	@touch $@

demo: setup ## the whole job on a fictional market: SIGNAL=0..1 SEED=n; ends with a report
	@./demo.sh

data: setup ## a dataset from live providers: INDEX=dow30|nasdaq100|.. ARGS="--start 2026-01-01 --end 2026-06-30"
	$(PY) -m data_pipeline $(if $(findstring --symbols,$(ARGS)),,--index $(INDEX)) $(ARGS)

have = @test -f $(1) || { echo "no $(1); there are: $(basename $(notdir $(wildcard $(dir $(1))*.yaml)))" >&2; exit 2; }

train: setup ## fine-tune: MODEL=recipe DATASET=.. RUN=.. ACCEL=.. GPU=0 ARGS="--field value"
	$(call have,recipes/$(MODEL).yaml)
	$(call have,accelerate_configs/$(ACCEL).yaml)
	$(PY) -m accelerate.commands.launch --quiet --config_file accelerate_configs/$(ACCEL).yaml -m sft.train \
	    --config recipes/$(MODEL).yaml --dataset $(DATASET) --output_dir outputs/$(RUN) $(ARGS)

eval: setup ## answer and score a test split: MODEL=recipe RUN=.. ADAPTER=folder|user/name[@rev]|none
	$(call have,recipes/$(MODEL).yaml)
	$(PY) -m eval.generate --config recipes/$(MODEL).yaml --adapter $(ADAPTER) --dataset $(DATASET) --out results/$(RUN) $(ARGS)
	$(PY) -m eval.likelihood --config recipes/$(MODEL).yaml --adapter $(ADAPTER) --dataset $(DATASET) --out results/$(RUN)
	$(PY) -m eval.score results/$(RUN)/generations.jsonl --out results/$(RUN)
	$(PY) -m eval.publish results/$(RUN)

compare: setup ## one report over scored runs: RUNS="a b" REPORT=name
	$(PY) -m eval.report $(addprefix results/,$(RUNS)) --out reports/$(REPORT) $(ARGS)

push: setup ## adapter and model card to the Hub: RUN=.. REPO=user/name
	@test -n "$(REPO)" || { echo "push: give REPO=user/name, the repository on the Hub" >&2; exit 2; }
	$(PY) -m sft.publish outputs/$(RUN) --repo $(REPO) $(ARGS)

bench: setup ## speed, MFU and memory of a recipe's training: MODEL=recipe ARGS="--shapes llama8b"
	$(PY) -m benchmarks.train --config recipes/$(MODEL).yaml $(ARGS)

doctor: setup ## what this machine has: card, precision, keys, services
	$(PY) -m sft.doctor

test: .venv/dev ## everything; ARGS='-m "not slow"' leaves out what trains or generates
	$(PY) -m pytest -n auto --dist worksteal $(ARGS)

lint: .venv/dev ## ruff and types
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m pyright

.PHONY: help setup demo data train eval compare push bench doctor test lint
.DEFAULT_GOAL := help
