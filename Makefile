# `make` lists the targets. Variables are given after them: make train MODEL=llama RUN=llama-1
MODEL   ?= smollm2
RUN     ?= $(MODEL)
DATASET ?= FinGPT/fingpt-forecaster-dow30-202305-202405
comma   := ,
DEVICES := $(if $(filter undefined,$(origin CUDA_VISIBLE_DEVICES)),$(wildcard /dev/nvidia[0-9]* /dev/dxg),$(filter-out -1,$(CUDA_VISIBLE_DEVICES)))
ACCEL   ?= $(if $(filter-out 1,$(GPUS)),ddp,$(if $(DEVICES),single_gpu,cpu))
GPU     ?= $(firstword $(subst $(comma), ,$(CUDA_VISIBLE_DEVICES)) 0)
ADAPTER ?= outputs/$(RUN)
RUNS    ?= $(call q,$(RUN))
REPORT  ?= compare
INDEX   ?= dow30
PY      := .venv/bin/python

# make takes a $ in a value for one of its own: RUN='a$b' would be the run "a".
define newline


endef
told_names := $(foreach name,MODEL RUN DATASET ACCEL GPU ADAPTER RUNS REPORT INDEX REPO SIGNAL SEED CARD CARDS GPUS,$(if \
    $(filter command environment,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(told_names) $(if $(filter command environment,$(firstword $(origin ARGS))),ARGS),$(if \
    $(findstring $$,$(subst $$$$,,$(value $(name)))),$(error $(name) holds a $$, which make reads as its own; \
    write $$$$, or choose another name)))
$(foreach name,$(told_names),$(if $(findstring $(newline),$(value $(name))),$(error $(name) holds a line break; \
    expected one line)))

# A value as one word of the shell, whatever is in it.
q = '$(subst ','\'',$(1))'
origin_of = $(firstword $(origin $(1)))
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(call origin_of,$(name))),$(name)))
known := MODEL RUN DATASET ACCEL GPU ADAPTER RUNS REPORT INDEX REPO ARGS SIGNAL SEED PYTHON CARD CARDS GPUS
# `make train WANDB_MODE=offline` sets a variable of the environment, as a shell would.
environment := %_API_KEY %_BASE_URL %_PROXY %_proxy SHELL MAKEFLAGS PATH HOME TMPDIR LANG LC_% PY PYTHON% \
    HF_% WANDB_% OPENAI_% FINNHUB_% CUDA_% NCCL_% OMP_% MKL_% TORCH% PYTORCH_% TRANSFORMERS_% TOKENIZERS_% \
    ACCELERATE_% BNB_% BITSANDBYTES_% XDG_% UV_% PIP_% WEEKAHEAD_% DATASETS_% \
    SSL_% REQUESTS_% CURL_% GIT_% LD_% NVIDIA_% TRITON_% ROCR_% HIP_% MASTER_% ALPACA_% APCA_% TZ TERM NO_COLOR
unknown := $(filter-out $(known) $(environment),$(given))
ifneq ($(unknown),)
python := $(firstword $(wildcard .venv/bin/python) python3)
hint := $(shell $(python) -m weekahead.preflight variables --print --given "$(unknown)" --known "$(known)" 2>/dev/null)
$(error no variable $(unknown): $(or $(hint),there are $(known)). One of the environment stands before `make`)
endif
# HF_TOKN is of a family above, and meant for another.
of_families := $(filter-out $(known),$(filter $(environment),$(given)))
ifneq ($(of_families),)
python := $(firstword $(wildcard .venv/bin/python) python3)
misspelt := $(shell $(python) -m weekahead.preflight environment --print --given "$(of_families)" 2>/dev/null)
$(if $(misspelt),$(error $(misspelt). One that is meant stands before `make`))
endif

uses_train := MODEL RUN DATASET ACCEL GPU GPUS ARGS
uses_eval := $(uses_train) ADAPTER
uses_compare := RUNS RUN MODEL REPORT ARGS
uses_push := RUN MODEL REPO ARGS
uses_bench := MODEL ACCEL GPU ARGS
uses_demo := SIGNAL SEED ACCEL GPU
uses_data := INDEX ARGS
uses_plan := MODEL DATASET CARD CARDS ARGS
uses_test := ARGS
unused := $(filter-out $(foreach goal,$(MAKECMDGOALS),$(uses_$(goal))) PYTHON $(environment),$(given))
ifneq ($(and $(MAKECMDGOALS),$(unused)),)
$(warning $(MAKECMDGOALS) does not use $(unused))
endif

hash := \#
# Every line of a recipe's command is a command of its own, so flags on several lines become one; and
# the shell would take a pipe or a semicolon for its own: flags behind it would be lost, or a failure.
ifneq ($(findstring $(newline),$(ARGS)),)
override ARGS := $(subst $(newline), ,$(subst \$(newline), ,$(ARGS)))
endif
ifneq ($(strip $(foreach sign,; | & < > ( ) ` $(hash),$(findstring $(sign),$(ARGS)))),)
python := $(firstword $(wildcard .venv/bin/python) python3)
operator := $(shell $(python) -m weekahead.preflight words --print -- $(call q,$(ARGS)) 2>/dev/null)
$(if $(operator),$(error $(operator)))
endif

# What a target makes of its variables, checked before anything heavy is imported.
told = $(strip $(foreach name,$(1),$(if $(filter command environment,$(call origin_of,$(name))),$(name))))
checks = $(PY) -m weekahead.preflight $(1) --run=$(call q,$(RUN))

# Threads that wait should sleep: on a machine that does something else too, spinning ones take the others' time.
export OMP_WAIT_POLICY ?= PASSIVE
export ACCEL
# What a target starts ends with make, even if make is killed.
export WEEKAHEAD_LAUNCHER := $(shell echo $$PPID)
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
	@$(PY) -m weekahead.preflight demo
	@./demo.sh

data: setup ## a dataset from live providers: INDEX=dow30|nasdaq100|.. ARGS="--start 2026-01-01 --end 2026-06-30"
	$(PY) -m data_pipeline $(if $(findstring --symbols,$(ARGS)),,--index $(call q,$(INDEX))) $(ARGS)

check_train = $(call checks,train) --model=$(call q,$(MODEL)) --dataset=$(call q,$(DATASET)) \
    --accel=$(call q,$(ACCEL)) --gpus=$(call q,$(GPUS)) --given "$(call told,DATASET RUN ACCEL)"
# With GPUS=4 each of four processes takes a quarter of the recipe's accumulation: the rows per step stay.
shared = $(if $(GPUS),$(shell $(check_train) --print -- $(ARGS) 2>/dev/null))
train: setup ## fine-tune: MODEL=recipe DATASET=.. RUN=.. ACCEL=.. GPU=0 GPUS=4 ARGS="--field value"
	@$(check_train) -- $(ARGS)
	$(if $(GPUS),WEEKAHEAD_PROCESSES=$(call q,$(GPUS)) )$(PY) -m weekahead.launch --config_file accelerate_configs/$(ACCEL).yaml \
	    $(if $(GPUS),--num_processes $(call q,$(GPUS))) -m sft.train --config recipes/$(MODEL).yaml \
	    --dataset $(call q,$(DATASET)) --output_dir $(call q,outputs/$(RUN)) $(shared) $(ARGS)

check_eval = $(call checks,eval) --model=$(call q,$(MODEL)) --dataset=$(call q,$(DATASET)) \
    --adapter=$(call q,$(ADAPTER)) --given "$(call told,MODEL DATASET)"
# Recipe and dataset: those given, else those that the adapter was trained with.
chosen = $(shell $(check_eval) --print -- $(ARGS) 2>/dev/null)
eval: setup ## answer and score a test split: RUN=.. MODEL=recipe DATASET=.. ADAPTER=folder|user/name[@rev]|none
	@$(check_eval) -- $(ARGS)
	$(PY) -m eval.generate $(chosen) --adapter $(call q,$(ADAPTER)) --out $(call q,results/$(RUN)) $(ARGS)
	$(PY) -m eval.likelihood $(chosen) --adapter $(call q,$(ADAPTER)) --out $(call q,results/$(RUN))
	$(PY) -m eval.score $(call q,results/$(RUN)/generations.jsonl) --out $(call q,results/$(RUN))
	$(PY) -m eval.publish $(call q,results/$(RUN))

check_compare = $(call checks,compare) --runs=$(call q,$(RUNS)) --report=$(call q,$(REPORT))
compared = $(shell $(check_compare) --print 2>/dev/null)
compare: setup ## one report over scored runs: RUNS="a b" REPORT=name
	@$(check_compare)
	$(PY) -m eval.report $(compared) --out $(call q,reports/$(REPORT)) $(ARGS)

push: setup ## adapter and model card to the Hub: RUN=.. REPO=user/name
	@test -n $(call q,$(REPO)) || { echo "push: give REPO=user/name, the repository on the Hub" >&2; exit 2; }
	@$(call checks,push)
	$(PY) -m sft.publish $(call q,outputs/$(RUN)) --repo $(call q,$(REPO)) $(ARGS)

bench: setup ## speed, MFU and memory of a recipe's training: MODEL=recipe ARGS="--shapes llama8b"
	$(PY) -m benchmarks.train --config $(call q,recipes/$(MODEL).yaml) $(ARGS)

plan: setup ## what a training will need, before it starts: MODEL=recipe DATASET=.. CARD=l4 CARDS=2 ARGS="--field value"
	@$(PY) -m sft.plan --config $(call q,recipes/$(MODEL).yaml) --dataset $(call q,$(DATASET)) \
	    $(if $(CARD),--card $(call q,$(CARD))) $(if $(CARDS),--cards $(call q,$(CARDS))) $(ARGS)

doctor: setup ## what this machine has: card, precision, keys, services
	$(PY) -m sft.doctor

test: .venv/dev ## everything; ARGS='-m "not slow"' leaves out what trains or generates
	$(PY) -m pytest -n auto --dist worksteal $(ARGS)

lint: .venv/dev ## ruff and types
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m pyright

.PHONY: help setup demo data train eval compare push bench plan doctor test lint
.DEFAULT_GOAL := help
# `make -j train eval`: an evaluation needs the end of the training.
.NOTPARALLEL:
