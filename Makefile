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
SWEEP   ?= qlora
INDEX   ?= dow30
JOURNAL ?= journal
ifeq ($(strip $(JOURNAL)),)
override JOURNAL := journal
endif
PY      := .venv/bin/python

# make takes a $ in a value for one of its own: RUN='a$b' would be the run "a".
define newline


endef
told_names := $(foreach name,MODEL RUN DATASET ACCEL GPU ADAPTER RUNS REPORT INDEX REPO SIGNAL SEED CARD CARDS GPUS \
    FORM JOURNAL HEAD TSA TSA_CA RECORDS DATE SYMBOLS SWEEP POINT PROMPT,$(if \
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
known := MODEL RUN DATASET ACCEL GPU ADAPTER RUNS REPORT INDEX REPO ARGS SIGNAL SEED PYTHON CARD CARDS GPUS FORM JOURNAL HEAD TSA TSA_CA RECORDS DATE SYMBOLS SWEEP POINT PROMPT
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
uses_sync := RUN
uses_sweep := SWEEP POINT $(uses_train)
uses_push := RUN MODEL REPO ARGS
uses_push-data := DATASET REPO ARGS
uses_export := RUN MODEL ADAPTER DATASET FORM ARGS
uses_serve := $(uses_export)
uses_bench := MODEL ACCEL GPU ARGS
uses_demo := SIGNAL SEED ACCEL GPU
uses_data := INDEX ARGS
uses_plan := MODEL DATASET CARD CARDS ARGS
uses_forecast := RUN MODEL ADAPTER SYMBOLS INDEX PROMPT DATE RECORDS GPU ACCEL ARGS
uses_app := RUN MODEL ADAPTER SYMBOLS INDEX DATE RECORDS GPU ACCEL ARGS
uses_journal-enter := JOURNAL RUN MODEL ADAPTER DATASET RECORDS SYMBOLS INDEX DATE ARGS
uses_journal-verify := JOURNAL HEAD TSA_CA
uses_journal-settle := JOURNAL RECORDS DATE ARGS
uses_journal-score := JOURNAL
uses_journal-page := JOURNAL
uses_journal-stamp := JOURNAL TSA TSA_CA
uses_journal-commit := JOURNAL HEAD TSA_CA
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

# Threads that wait spin 3,000 rounds and then sleep: the library's own choice takes the time of other programs, and
# threads that sleep at once leave a fifth of a free machine unused (docs/performance.md).
export GOMP_SPINCOUNT ?= 3000
export ACCEL
# What a target starts ends with make, even if make is killed.
export WEEKAHEAD_LAUNCHER := $(WEEKAHEAD_LAUNCHER) $(shell echo $$PPID)
ifeq ($(ACCEL),single_gpu)
demo train eval bench forecast app: export CUDA_VISIBLE_DEVICES := $(GPU)
endif

help: ## this list
	@awk -F ': .*## ' '/^[a-z-]+:.*##/ {printf "  %-14s %s\n", $$1, $$2}' Makefile

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
	$(PY) -m eval.steps generate $(chosen) --adapter $(call q,$(ADAPTER)) --out $(call q,results/$(RUN)) $(ARGS) \
	    --then likelihood $(chosen) --adapter $(call q,$(ADAPTER)) --out $(call q,results/$(RUN)) \
	    --then score $(call q,results/$(RUN)/generations.jsonl) --out $(call q,results/$(RUN)) \
	    --then publish $(call q,results/$(RUN))

check_compare = $(call checks,compare) --runs=$(call q,$(RUNS)) --report=$(call q,$(REPORT))
compared = $(shell $(check_compare) --print 2>/dev/null)
compare: setup ## one report over scored runs: RUNS="a b" REPORT=name
	@$(check_compare)
	$(PY) -m eval.report $(compared) --out $(call q,reports/$(REPORT)) $(ARGS)
	@$(PY) -m eval.publish $(call q,reports/$(REPORT))

# Whoever gave RUN chose the beginning of the runs' names; the rest of what was given goes to every training.
sweep: setup ## a grid of trainings, evaluated and compared: SWEEP=qlora MODEL=recipe DATASET=.. ARGS="--field value"
	@$(PY) -m weekahead.sweep $(call q,$(SWEEP)) --model $(call q,$(MODEL)) --point=$(call q,$(POINT)) \
	    --run=$(if $(call told,RUN),$(call q,$(RUN))) --arguments=$(call q,$(ARGS)) --variables \
	    $(foreach name,$(call told,DATASET ACCEL GPU GPUS),$(name)=$(call q,$($(name))))

sync: setup ## upload what W&B could not record online, then ask its server what it has: RUN=.. (default: all runs)
	@$(PY) -m weekahead.sync $(if $(call told,RUN),--run $(call q,$(RUN)))

dashboard: setup ## W&B's dashboard of all runs, made from code; without an account: what to open
	@$(PY) -m weekahead.dashboard

push: setup ## adapter, recipe, card, metrics and report to the Hub, privately: RUN=.. REPO=user/name
	@test -n $(call q,$(REPO)) || { echo "push: give REPO=user/name, the repository on the Hub" >&2; exit 2; }
	@$(call checks,push)
	$(PY) -m sft.publish $(call q,outputs/$(RUN)) --repo $(call q,$(REPO)) $(ARGS)

push-data: setup ## a dataset folder to the Hub, audited, privately: DATASET=folder REPO=user/name
	@test -n $(call q,$(REPO)) || { echo "push-data: give REPO=user/name, the repository on the Hub" >&2; exit 2; }
	$(PY) -m data_pipeline.push $(call q,$(DATASET)) --repo $(call q,$(REPO)) $(ARGS)

FORM ?= merged
exporting = $(PY) -m sft.export $(call q,$(ADAPTER)) --form $(call q,$(FORM)) --out $(call q,exports/$(RUN)/$(FORM))
# A GGUF file is compared with the model here on three prompts if llama.cpp is on this machine. A
# comparison that is not possible (2), such as without the rows, says so; one that fails (1) is an error.
llama_server = $(shell command -v llama-server)
export: setup ## the adapter as other programs take it: RUN=.. FORM=merged (safetensors, for vLLM) or gguf (llama.cpp, Ollama)
	@$(call checks,push)
	$(exporting) $(ARGS)
	$(if $(filter gguf,$(FORM)),$(if $(llama_server),$(PY) -m eval.parity $(chosen) --adapter $(call q,$(ADAPTER)) \
	    --prompts 3 --against gguf --model $(call q,exports/$(RUN)/gguf/model.gguf) || [ $$? -eq 2 ],\
	    @echo "not compared with the model here: no llama-server (llama.cpp) on this machine"))

serve: setup ## the same, then the commands that serve it with vLLM or llama.cpp and evaluate what is served: RUN=.. FORM=..
	@$(call checks,push)
	@$(exporting) --serve $(ARGS)

bench: setup ## speed, MFU and memory of a recipe's training: MODEL=recipe ARGS="--shapes llama8b"
	$(PY) -m benchmarks.train --config $(call q,recipes/$(MODEL).yaml) $(ARGS)

plan: setup ## what a training will need, before it starts: MODEL=recipe DATASET=.. CARD=l4 CARDS=2 ARGS="--field value"
	@$(PY) -m sft.plan --config $(call q,recipes/$(MODEL).yaml) --dataset $(call q,$(DATASET)) \
	    $(if $(CARD),--card $(call q,$(CARD))) $(if $(CARDS),--cards $(call q,$(CARDS))) $(ARGS)

journal = $(PY) -m forecast.journal $(1) --journal $(call q,$(JOURNAL))
at_date = $(if $(RECORDS),--records $(call q,$(RECORDS))) $(if $(DATE),--date $(call q,$(DATE)))

check_forecast = $(call checks,forecast) --model=$(call q,$(MODEL)) --adapter=$(call q,$(ADAPTER)) --given "$(call told,MODEL)"
forecasting = $(shell $(check_forecast) --print 2>/dev/null)
forecast: setup ## the week under way: RUN=.. or ADAPTER=none; SYMBOLS="A B" or INDEX=.. or PROMPT=file; DATE=.. RECORDS=file
	@$(check_forecast) -- $(ARGS)
	@$(PY) -m forecast $(forecasting) --adapter $(call q,$(ADAPTER)) --run $(call q,$(RUN)) $(at_date) \
	    $(if $(SYMBOLS),--symbols $(call q,$(SYMBOLS))) $(if $(call told,INDEX),--index $(call q,$(INDEX))) \
	    $(if $(PROMPT),--prompt $(call q,$(PROMPT))) $(ARGS)

# Without a name of anything: the demo's adapter (or the base alone, before the demo) on its fictional market.
market := data/records/demo.jsonl
named_for_app = $(call told,RUN MODEL ADAPTER RECORDS SYMBOLS INDEX)
check_app = $(call checks,app) --model=$(call q,$(MODEL)) --adapter=$(call q,$(ADAPTER)) --given "$(named_for_app)"
app_arguments = $(shell $(check_app) --print 2>/dev/null)
app: setup ## a page in the browser over `make forecast`: RUN=.. RECORDS=file DATE=..; without any the demo's
	@$(check_app) -- $(ARGS)
	@$(if $(named_for_app),,test -f $(market) || $(PY) -m data_pipeline.synthetic --name demo)
	@$(PY) -m forecast.app $(app_arguments) $(if $(named_for_app),,--records $(market)) $(at_date) \
	    $(if $(SYMBOLS),--symbols $(call q,$(SYMBOLS))) $(if $(call told,INDEX),--index $(call q,$(INDEX))) $(ARGS)

check_enter = $(call checks,journal-enter) --model=$(call q,$(MODEL)) --dataset=$(call q,$(DATASET)) \
    --adapter=$(call q,$(ADAPTER)) --given "$(call told,MODEL DATASET)"
entered = $(shell $(check_enter) --print 2>/dev/null)
journal-enter: setup ## forecasts of the week before it opens: RUN=.. SYMBOLS="A B" or INDEX=.. RECORDS=file JOURNAL=folder
	@$(check_enter)
	$(call journal,enter) $(entered) --adapter $(call q,$(ADAPTER)) $(at_date) \
	    $(if $(SYMBOLS),--symbols $(call q,$(SYMBOLS)),$(if $(RECORDS),,--index $(call q,$(INDEX)))) $(ARGS)

roots = $(if $(TSA_CA),--tsa_ca $(call q,$(TSA_CA)))
journal-verify: setup ## whether the ledger stands as it was written: JOURNAL=folder HEAD=published-hash TSA_CA=file
	@$(call journal,verify) $(if $(HEAD),--head $(call q,$(HEAD))) $(roots)

journal-settle: setup ## write down what happened: JOURNAL=folder RECORDS=file ARGS="--prices folder"
	@$(call journal,settle) $(at_date) $(ARGS)

journal-score: setup ## the record of every forecaster so far, and the verdict for weekly looks: JOURNAL=folder
	@$(call journal,score)

journal-page: setup ## one static folder with forecasts, record and head: JOURNAL=folder
	@$(call journal,page)

journal-stamp: setup ## a time-stamping authority signs the head and the time: TSA=https://.. JOURNAL=folder TSA_CA=file
	@$(call journal,stamp) --tsa=$(call q,$(TSA)) $(roots)

# The inputs hold news, whose licences rarely allow that they are published.
# Nor do locks and what a command left that was killed.
kept = $(call q,$(JOURNAL)) $(call q,:(exclude)$(JOURNAL)/inputs) $(call q,:(exclude,glob)$(JOURNAL)/**/.*)
journal-commit: setup ## the verified ledger and its page into git, the head in the message: JOURNAL=folder HEAD=hash
	@$(call journal,verify) --committed $(if $(HEAD),--head $(call q,$(HEAD))) $(roots)
	@if test -e $(call q,$(JOURNAL)/scores.json); then $(call journal,score) >/dev/null; fi
	@if test -e $(call q,$(JOURNAL)/page); then $(call journal,page) >/dev/null; fi
	git add -- $(kept)
	git diff --cached --quiet -- $(kept) || git commit --quiet -m "Journal: head $$(tail -n 1 \
	    $(call q,$(JOURNAL)/ledger.jsonl) | tr -d '\n' | sha256sum | cut -c 1-64)" -- $(kept)

doctor: setup ## what this machine has: card, precision, keys, services
	$(PY) -m sft.doctor

test: .venv/dev ## everything; ARGS='-m "not slow"' leaves out what trains or generates
	$(PY) -m pytest -n auto --dist worksteal $(ARGS)

lint: .venv/dev ## ruff, types, and a search for keys in the files of git
	$(PY) -m ruff check . && $(PY) -m ruff format --check .
	$(PY) -m pyright && $(PY) -m pyright -p tests
	$(PY) -m tests.secret_scan

.PHONY: help setup demo data train eval compare sweep sync dashboard push push-data export serve bench plan doctor test lint \
    forecast app journal-enter journal-verify journal-settle journal-score journal-page \
    journal-stamp journal-commit
.DEFAULT_GOAL := help
# `make -j train eval`: an evaluation needs the end of the training.
.NOTPARALLEL:
