"""What a `make` target was told is checked at once, without torch, and against the same tables."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tests.support.tiny import ROOT
from weekahead.preflight import main
from weekahead.schema.flags import CHOICES, GENERATION_FLAGS, LISTS, NEGATED, TRAINING_FLAGS
from weekahead.told_flags import misspelt_variable

HEAVY = {"torch", "transformers", "datasets", "trl", "peft", "accelerate", "numpy", "pandas"}
MAKE = ("make", "-n", "-o", "setup", "-o", ".venv/ready")
ROW = {"id": "A-2024-03-17", "symbol": "A", "week_start": "2024-03-17", "week_end": "2024-03-24",
       "prompt": [], "completion": [], "label": "U1"}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with recipes, accelerate configs, a dataset, and the finished adapter of a run."""
    for name in ("recipes", "accelerate_configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    for split in ("train", "test"):
        write(tmp_path / f"data/datasets/mine/{split}.jsonl", ROW)
    write(tmp_path / "other.jsonl", ROW)
    adapter(tmp_path / "outputs/done", dataset="data/datasets/mine", recipe="recipes/smollm2.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n")


def adapter(folder: Path, *, dataset: str, recipe: str, revision=None, base="models/smollm2"):
    write(folder / "adapter_config.json", {})
    write(folder / "adapter_model.safetensors", {})
    manifest = {
        "command": ["train.py", "--config", recipe, "--dataset", dataset],
        "base": {"name": base},
        "dataset": {"source": dataset, "revision": revision},
        "result": {"steps": 1},
    }
    write(folder / "manifest.json", manifest)


def run(capsys, target: str, *words: str, **variables: str) -> tuple[int, str]:
    told = {"model": "smollm2", "dataset": "data/datasets/mine", "run": "new", "accel": "cpu"}
    if target == "eval":
        told |= {"adapter": f"outputs/{variables.get('run', 'new')}"}
    flags = [f"--{name}={value}" for name, value in (told | variables).items()]
    status = main([target, *flags, "--", *words])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return status, printed.err


def test_the_checks_load_nothing_heavy():
    code = "import sys, weekahead.preflight; print(*{name.split('.')[0] for name in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(found.stdout.split())


def test_the_training_flags_are_those_of_the_parser():
    """A field of a newer library, or one of ours, belongs into weekahead/schema/flags.py."""
    from trl import TrlParser

    from sft.training.arguments import argument_classes

    kind_of = {"int": "whole number", "float": "number", "string_to_bool": "true or false"}
    actions = [one for one in TrlParser(argument_classes())._actions if one.dest != "help"]
    negated = {one.dest for one in actions if type(one).__name__ == "_StoreFalseAction"}
    kinds = {
        one.dest: kind_of.get(getattr(one.type, "__name__", ""), "other")
        for one in actions
        if type(one).__name__ != "_StoreFalseAction"
    }
    assert kinds == TRAINING_FLAGS and negated == NEGATED
    several = {one.dest for one in actions if one.nargs in ("+", "*")}
    assert several | {"report_to"} == LISTS, "the command's own parser takes several report_to"
    valueless = {one.dest for one in actions if one.nargs in ("?", 0)}
    assert {name for name in valueless if kinds[name] != "true or false"} == {"fsdp"}
    stated = {one.dest: tuple(one.choices) for one in actions if one.dest in CHOICES}
    assert stated == CHOICES


def test_the_generation_flags_are_those_of_the_options():
    from eval.generate import GenerateOptions

    kind_of = {"int": "whole number", "int | None": "whole number", "float": "number"}
    names = {field.name: str(getattr(field.type, "__name__", field.type)) for field in
             fields(GenerateOptions)}  # fmt: skip
    kinds = {name: kind_of.get(hint, "other") for name, hint in names.items()}
    assert kinds == GENERATION_FLAGS


def test_what_is_right_passes(project, capsys):
    assert run(capsys, "train") == (0, "")
    words = shlex.split(
        "--learning_rate 1e-4 --max-steps=3 --bf16 false --no_gradient_checkpointing "
        "--lora_target_modules q_proj k_proj --gen_rows 0 --eval_delay -1"
    )
    assert run(capsys, "train", *words) == (0, "")
    assert run(capsys, "train", dataset="user/name@main") == (0, "")
    assert run(capsys, "train", run="my 'new' \"run\"") == (0, "")
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        status, error = run(capsys, "train", model=recipe.stem)
        assert status == 0 or "billion weights" in error, error


@pytest.mark.parametrize(
    ("variables", "words", "message"),
    [
        ({"run": "../../x"}, (), "RUN is '../../x'"),
        ({"run": ""}, (), "RUN is '', which is empty"),
        ({"run": "done"}, (), "outputs/done holds a finished training; choose another RUN"),
        ({"run": "file"}, (), "outputs/file is a file"),
        ({"model": "smolm2"}, (), "no recipes/smolm2.yaml; did you mean smollm2?; there are: "),
        ({"model": "recipes/llama.yaml"}, (), "did you mean llama?"),
        ({"accel": "multi_node"}, (), "ACCEL=multi_node is for several machines"),
        ({"accel": "gpu"}, (), "no accelerate_configs/gpu.yaml; did you mean single_gpu?"),
        ({"dataset": "data/datasets/mien"}, (), "there is no such file.*did you mean mine?"),
        ({"dataset": "data/nope"}, (), "data/nope: there is no such file"),
        ({"dataset": ""}, (), "DATASET is ''"),
        ({"dataset": "outputs"}, (), "outputs: no split found"),
        ({"dataset": "only_test"}, (), "only_test: no split 'train'; it has: test"),
        ({"dataset": "bad.jsonl"}, (), "bad.jsonl, row 1: missing column completion"),
        ({"dataset": "cut.jsonl"}, (), "cut.jsonl, line 1: not JSON"),
        ({"dataset": "empty.jsonl"}, (), "empty.jsonl: no rows"),
        ({"dataset": "bad.parquet"}, (), "bad.parquet: not a parquet file"),
        ({"dataset": "cut.parquet"}, (), "cut.parquet: not a parquet file"),
        ({"dataset": "rows.csv"}, (), "files of type '.csv' are not read; use .jsonl"),
        ({"dataset": "--help"}, (), "--help: there is no such file"),
        ({}, ("--max_steps",), "--max_steps has no value; expected --max_steps value"),
        ({}, ("--max_steps", "3", "4"), "'4' stands after --max_steps 3"),
        ({}, ("--optim", "adamw_troch"), "--optim is 'adamw_troch'; did you mean adamw_torch?"),
        ({}, ("--lr_scheduler_type=cosin",), "did you mean cosine?"),
        ({}, ("--model_name_or_path", "/no/base"), "/no/base', and there is no such folder"),
        ({}, ("--learning_rat", "1"), "no flag --learning_rat; did you mean --learning_rate?"),
        ({}, ("--max_steps", "ten"), "--max_steps is 'ten'; expected a whole number"),
        ({}, ("--bf16", "maybe"), "--bf16 is 'maybe'; expected true or false"),
        ({}, ("lr=3",), "ARGS begins with 'lr=3'"),
        ({}, ("--config", "x.yaml"), "name the recipe with MODEL="),
        ({}, ("--lora_r", "8", "--lora-r=4"), "--lora_r is given twice"),
        (
            {"given": "DATASET"},
            ("--dataset", "other.jsonl"),
            "DATASET says data/datasets/mine and ARGS says --dataset other.jsonl",
        ),
        ({"given": "RUN"}, ("--output_dir", "outputs/x"), "RUN says outputs/new and ARGS says"),
        ({}, ("--dataset", "nope.jsonl"), "nope.jsonl: there is no such file"),
        ({"model": "llama"}, (), "8.0 billion weights and this machine shows no.*MODEL=smollm2"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_at_once(project, capsys, variables, words, message):
    (project / "outputs/file").write_text("")
    write(project / "only_test/test.jsonl", ROW)
    write(project / "bad.jsonl", {name: ROW[name] for name in ROW if name != "completion"})
    (project / "cut.jsonl").write_text('{"id": "A')
    (project / "empty.jsonl").write_text("\n")
    (project / "bad.parquet").write_text("x")
    (project / "cut.parquet").write_text("PAR1 and the rest is missing")
    (project / "rows.csv").write_text("id,prompt\n")
    start = time.process_time()
    status, error = run(capsys, "train", *words, **variables)
    assert status == 2 and error.count("\n") == 1
    assert message.replace(".*", "") in error or all(part in error for part in message.split(".*"))
    assert time.process_time() - start < 10  # no model is read


@pytest.mark.parametrize(
    "content",
    ["[", "- a\n", "learning_rat: 1\n", "max_steps: ten\n", "", "1: 2", "yes: 1", "? [a]\n: 3"],
)
def test_a_recipe_that_cannot_be_read_is_named(project, capsys, content):
    (project / "recipes").unlink()
    (project / "recipes").mkdir()
    (project / "recipes/mine.yaml").write_text(content)
    status, error = run(capsys, "train", model="mine")
    assert status == 2 and "recipes/mine.yaml" in error and error.count("\n") == 1


def test_a_dataset_in_a_recipe_is_not_replaced_in_silence(project, capsys):
    content = (project / "recipes/smollm2.yaml").read_text() + "dataset: other.jsonl\n"
    (project / "recipes").unlink()
    (project / "recipes").mkdir()
    (project / "recipes/mine.yaml").write_text(content)
    status, error = run(capsys, "train", model="mine")
    assert status == 2 and "dataset is other.jsonl, and make gives data/datasets/mine" in error
    for explicit, words in (("DATASET", ()), ("", ("--dataset", "other.jsonl"))):
        assert run(capsys, "train", *words, model="mine", given=explicit) == (0, "")


def test_a_gpu_that_was_asked_for_and_is_absent_is_said(project, capsys):
    told = {"accel": "single_gpu", "given": "ACCEL"}
    status, error = run(capsys, "train", **told)
    assert status == 0 and "ACCEL=single_gpu, but this machine shows no GPU" in error
    assert run(capsys, "train", accel="cpu", given="ACCEL") == (0, "")
    assert run(capsys, "train", accel="single_gpu") == (0, "")


def choose(capsys, **variables: str) -> tuple[str, str]:
    status, error = run(capsys, "eval", **variables)
    assert status == 0, error
    flags = [f"--{name}={value}" for name, value in variables.items()]
    given = "" if "adapter" in variables else f"--adapter=outputs/{variables['run']}"
    main(["eval", "--print", *filter(None, [given]), *flags])
    return capsys.readouterr().out.strip(), error


def test_an_evaluation_takes_recipe_and_dataset_from_the_run(project, capsys):
    chosen, error = choose(capsys, run="done", model="llama", dataset="x/y")
    assert chosen == "--config recipes/smollm2.yaml --dataset data/datasets/mine"
    assert "NOTE" not in error and "as outputs/done/manifest.json says" in error


def test_being_told_another_is_said_loudly_and_obeyed(project, capsys):
    told = {"model": "smollm2", "given": "MODEL DATASET", "dataset": "other.jsonl"}
    chosen, error = choose(capsys, run="done", **told)
    assert chosen == "--config recipes/smollm2.yaml --dataset other.jsonl"
    line = "eval: NOTE: DATASET=other.jsonl, but outputs/done was trained on data/datasets/mine\n"
    assert error.startswith(line)
    same = {**told, "dataset": "./data/datasets/mine/"}
    assert "NOTE" not in choose(capsys, run="done", **same)[1]
    adapter(project / "outputs/qwen", dataset="other.jsonl", recipe="recipes/qwen.yaml")
    _, error = choose(capsys, run="qwen", **told)
    assert "NOTE: MODEL=smollm2, but outputs/qwen was trained with recipes/qwen.yaml" in error


def test_a_recipe_that_is_gone_is_found_by_its_base(project, capsys):
    adapter(project / "outputs/old", dataset="a/b", recipe="gone.yaml", revision="abc")
    chosen, _ = choose(capsys, run="old")
    assert chosen == "--config recipes/smollm2.yaml --dataset a/b@abc"
    adapter(project / "outputs/odd", dataset="a/b", recipe="gone.yaml", base="x/unknown")
    status, error = run(capsys, "eval", run="odd")
    assert status == 2 and "none in recipes/ has its base, x/unknown; give MODEL=" in error


@pytest.mark.parametrize(
    ("variables", "words", "message"),
    [
        ({"run": "absent"}, (), "no adapter at outputs/absent"),
        ({"adapter": "outputs/don"}, (), "did you mean done?"),
        ({"adapter": "done"}, (), "did you mean ADAPTER=outputs/done?"),
        ({"adapter": "None"}, (), "did you mean none?"),
        ({"adapter": "data/datasets/mine"}, (), "is not a complete adapter: adapter_config.json"),
        ({"run": "moved"}, (), "gone.jsonl, the dataset that outputs/moved was trained on"),
        ({"run": "done"}, ("--dataset", "x"), "--dataset stands in ARGS"),
        ({"adapter": ""}, (), "ADAPTER is ''; expected outputs/<run>"),
        ({"run": "done"}, ("--max_new", "3"), "no flag --max_new; did you mean --max_new_tokens?"),
        ({"run": "done"}, ("--split", "unseen"), "no split 'unseen'; it has: test, train"),
        ({"adapter": "none", "model": "llama"}, (), "8.0 billion weights"),
    ],
)
def test_an_evaluation_that_cannot_work_is_refused(project, capsys, variables, words, message):
    adapter(project / "outputs/moved", dataset="gone.jsonl", recipe="recipes/smollm2.yaml")
    status, error = run(capsys, "eval", *words, **variables)
    assert status == 2 and message in error and error.count("\n") == 1


def test_a_server_needs_no_gpu_here(project, capsys):
    told = {"adapter": "none", "model": "llama"}
    assert run(capsys, "eval", "--backend", "endpoint", **told)[0] == 0


def test_a_forecast_takes_the_recipe_of_the_run(project, capsys):
    told = ["forecast", "--model=llama", "--run=done"]
    assert main([*told, "--adapter=outputs/done", "--print"]) == 0
    assert capsys.readouterr().out == "--config recipes/smollm2.yaml\n"
    assert main([*told, "--adapter=outputs/done"]) == 0
    assert main([*told, "--adapter=outputs/dome"]) == 2
    assert "no adapter at outputs/dome; did you mean done?" in capsys.readouterr().err


def test_the_page_takes_the_demo_if_nothing_is_named(project, capsys):
    """Before the demo the base alone, and says so; what is named is checked as for a forecast."""
    flags = ["--config", "recipes/smollm2.yaml", "--adapter"]
    assert main(["app", "--print"]) == 0
    assert capsys.readouterr().out.split() == [*flags, "none", "--run", "demo"]
    status, said = run(capsys, "app", adapter="outputs/smollm2")
    assert status == 0 and "no demo was trained here" in said
    adapter(project / "outputs/demo", dataset="data/datasets/mine", recipe="recipes/smollm2.yaml")
    assert main(["app", "--print"]) == 0
    assert capsys.readouterr().out.split() == [*flags, "outputs/demo", "--run", "demo"]
    assert run(capsys, "app", adapter="outputs/smollm2") == (0, "")
    told = ["app", "--given=RUN", "--run=done", "--model=llama"]
    assert main([*told, "--adapter=outputs/done", "--print"]) == 0
    assert capsys.readouterr().out.split() == [*flags, "outputs/done", "--run", "done"]
    assert main([*told, "--adapter=outputs/dome"]) == 2
    assert "no adapter at outputs/dome; did you mean done?" in capsys.readouterr().err


def test_make_app_makes_the_fictional_market_if_nothing_is_named():
    assert "data_pipeline.synthetic --name demo" in make("app").stdout
    named = make("app", "RUN=a b", "RECORDS=r.jsonl", "DATE=2032-03-21").stdout
    assert "synthetic" not in named and "--records 'r.jsonl' --date '2032-03-21'" in named


def test_runs_are_a_list_as_a_shell_reads_it(project, capsys):
    write(project / "results/my run/metrics.json", {})
    write(project / "results/b/metrics.json", {})
    assert run(capsys, "compare", runs="'my run' b", report="r") == (0, "")
    assert main(["compare", "--print", "--runs='my run' b"]) == 0
    assert shlex.split(capsys.readouterr().out) == ["results/my run", "results/b"]
    for runs, report in (("c", "r"), ("", "r"), ("'b", "r"), ("../b", "r"), ("b", "../r")):
        assert run(capsys, "compare", runs=runs, report=report)[0] == 2


def make(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(
        [*MAKE, *words], cwd=ROOT, capture_output=True, text=True, env=environment | variables
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [("model=llama", "MODEL"), ("DATA=x", "DATASET"), ("DATSET=x", "DATASET"), ("Run=x", "RUN")],
)
def test_an_unknown_variable_stops_make(given, meant):
    result = make("train", given)
    assert result.returncode == 2
    assert f"no variable {given.partition('=')[0]}: did you mean {meant}?" in result.stderr


@pytest.mark.parametrize("given", ["RUN=a$b", "DATASET=$HOME/x", "RUN=$(x)", "ARGS=--seed $1"])
def test_a_dollar_that_make_would_take_is_refused(given):
    result = make("train", given)
    assert result.returncode == 2
    assert f"{given.partition('=')[0]} holds a $, which make reads as its own" in result.stderr


def test_a_doubled_dollar_is_one():
    assert "outputs/a$b" in make("train", "RUN=a$$b").stdout


def test_a_line_break_in_a_variable_is_refused():
    result = make("train", "RUN=a\nb")
    assert result.returncode == 2 and "RUN holds a line break" in result.stderr


@pytest.mark.parametrize("given", ["--seed 1; x", "--seed 1 | tee a", "--seed 1 &", "--seed 1 # x"])
def test_what_a_shell_takes_from_args_is_refused(given):
    """`;` and `|` hide that a training failed; `#` drops the flags behind it."""
    result = make("train", f"ARGS={given}")
    assert result.returncode == 2 and "which the shell takes for its own" in result.stderr


@pytest.mark.parametrize("given", ["--seed 1\n--lora_r 4", "--seed 1 \\\n --lora_r 4"])
def test_flags_on_two_lines_reach_one_command(given):
    """make would run the second line by itself, and ignore its failure for the leading dash."""
    lines = make("train", f"ARGS={given}").stdout.splitlines()
    assert sum(line.startswith("--") for line in lines) == 0
    assert sum(line.split()[-4:] == ["--seed", "1", "--lora_r", "4"] for line in lines) == 2


@pytest.mark.parametrize("given", ['--k \'{"a": "b;c|d"}\'', '--k "(a or #b)" c', "--k a#b"])
def test_quoted_signs_are_text(given):
    result = make("test", f"ARGS={given}")
    assert result.returncode == 0 and given in result.stdout


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("HF_TOKN", "HF_TOKEN"),
        ("WANDB_MOD", "WANDB_MODE"),
        ("CUDA_VISIBLE_DEVICE", "CUDA_VISIBLE_DEVICES"),
        ("OPENAI_KEY", "OPENAI_API_KEY"),
    ],
)
def test_a_misspelt_variable_of_the_environment_is_told(given, meant):
    result = make("train", f"{given}=1")
    assert result.returncode == 2
    assert f"nothing reads {given}: did you mean {meant}?" in result.stderr


def test_variables_that_libraries_read_are_no_mistakes():
    """Every name of theirs in the sources of the Hub client and of W&B passes."""
    names = set()
    for library in ("huggingface_hub/constants.py", "wandb/env.py", "wandb/sdk/wandb_settings.py"):
        source = next(
            Path(folder, library) for folder in sys.path if Path(folder, library).exists()
        )
        names |= set(re.findall(r"\b(?:HF|WANDB|TRANSFORMERS)_[A-Z][A-Z_]+", source.read_text()))
    assert len(names) > 80
    assert [name for name in names if misspelt_variable(name)] == []


def test_variables_of_the_environment_do_not_stop_make():
    result = make("train", "WANDB_MODE=offline", "HF_HUB_OFFLINE=1", model="x", DATA="y", Run="z")
    assert result.returncode == 0 and result.stderr == ""


def test_a_variable_that_a_target_does_not_use_is_said():
    assert "push does not use DATASET" in make("push", "REPO=a/b", "DATASET=x").stderr


@pytest.mark.parametrize("name", ["my run", "it's", 'a "b"', "a;b&c", "größe"])
def test_names_are_one_word_in_every_target(name):
    for target in ("train", "eval", "compare", "push"):
        dataset = [f"DATASET=d/{name}"] if target in ("train", "eval") else []
        result = make(target, f"RUN={name}", "REPO=a/b", "ADAPTER=none", *dataset)
        assert result.returncode == 0
        words = shlex.split(result.stdout.replace("\\\n", " "))
        assert any(word.endswith(f"/{name}") for word in words), result.stdout
        assert not dataset or f"d/{name}" in words
        assert len(result.stdout.splitlines()) <= 7


def test_a_larger_card_is_asked_for_before_any_download(tmp_path, monkeypatch):
    from weekahead.machine import check_model_fits, parameters_of

    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 16384\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    check_model_fits("meta-llama/Llama-3.1-8B", in_4bit=True, on_cpu=False)
    with pytest.raises(ValueError, match=r"16 GB, and the largest GPU has 17 GB|take a larger GPU"):
        check_model_fits("Qwen/Qwen2.5-14B", in_4bit=False, on_cpu=False)
    with pytest.raises(ValueError, match="the accelerate config says CPU"):
        check_model_fits("meta-llama/Llama-3.1-8B", in_4bit=True, on_cpu=True)
    assert parameters_of("x/Some-14B-Instruct") == 14_000_000_000
    assert parameters_of("x/y") is None and parameters_of("HuggingFaceTB/SmolLM2-135M") is None


def test_the_families_of_the_recipes_have_a_size():
    from weekahead.machine import parameters_of

    for path in (ROOT / "recipes").glob("*.yaml"):
        base = yaml.safe_load(path.read_text(encoding="utf-8"))["model_name_or_path"]
        assert parameters_of(base) or base == "models/smollm2"


def test_the_demo_needs_memory_that_is_free(monkeypatch, tmp_path, capsys):
    """Of the machine, or of a container with a limit, whose file cache makes room."""
    from weekahead import machine

    assert main(["demo"]) == 0
    for name, value in (("memory.max", 8 << 30), ("memory.current", 6 << 30)):
        (tmp_path / name).write_text(f"{value}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\nfile {1 << 30}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.free_memory() == 3 << 30
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert "make demo needs 4.5 GiB of memory and 3.0 GiB are free; close other programs" in error
    (tmp_path / "memory.max").write_text("max\n")
    assert main(["demo"]) == 0


def test_gpus_share_the_rows_of_a_step(project, capsys, monkeypatch):
    monkeypatch.setattr("weekahead.preflight.gpu_memory", lambda: [80 << 30] * 4)
    status, _ = run(capsys, "train", accel="ddp", gpus="4")
    assert status == 0
    for words, flags in (([], "--gradient_accumulation_steps 2"), (["--lora_r", "4"], "2")):
        assert main(["train", "--model=smollm2", "--gpus=4", "--print", "--", *words]) == 0
        assert capsys.readouterr().out.strip().endswith(flags)
    own = ["--gradient_accumulation_steps", "3"]
    assert main(["train", "--model=smollm2", "--gpus=4", "--print", "--", *own]) == 0
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize(
    ("gpus", "accel", "error"),
    [
        ("3", "ddp", "1 x 8 rows per step cannot be shared between 3 cards"),
        ("8", "ddp", "GPUS=8, and this machine shows 4 GPUs; leave GPUS out or lower it"),
        (
            "2",
            "single_gpu",
            "single_gpu.yaml is for one process; take ACCEL=ddp",
        ),
        ("two", "ddp", "GPUS is 'two'; expected a number of GPUs"),
        ("0", "ddp", "GPUS is '0'"),
    ],
)
def test_gpus_that_cannot_be_are_refused(project, capsys, monkeypatch, gpus, accel, error):
    monkeypatch.setattr("weekahead.preflight.gpu_memory", lambda: [80 << 30] * 4)
    status, text = run(capsys, "train", accel=accel, gpus=gpus)
    assert status == 2 and error in text
