"""What cannot work, which step is kept, when a training stops, and what the rows could show."""

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data_pipeline.dataset.load import load_dataset
from eval.metrics.statistics import planned_skill
from sft.training.arguments import parse
from sft.training.checks import check_processes, check_selection, planned_steps
from tests.support.tiny import command
from weekahead.files import read_jsonl
from weekahead.models.precision import Precision

ROOT = Path(__file__).parents[2]
FP32 = Precision("fp32", "cpu", "for the test")
BEST = (
    "--load_best_model_at_end true --eval_strategy steps --save_strategy steps "
    "--eval_steps 1 --save_steps 1"
)


def parsed(flags, folder):
    recipe = ["--config", str(ROOT / "recipes/smollm2.yaml"), "--output_dir", str(folder)]
    return parse([*recipe, *flags.split()], FP32)


@pytest.mark.parametrize(
    ("flags", "rows", "remedy"),
    [
        (BEST, 0, "give a dataset of more weeks"),
        ("--gen_rows 4", 0, "give a dataset of more weeks"),
        ("--gen_rows 4 --eval_strategy no", 9, "set it to steps or epoch"),
        (
            "--load_best_model_at_end true --eval_strategy no --save_strategy no",
            9,
            "set it to steps or epoch",
        ),
        ("--load_best_model_at_end true", 9, "Save where you evaluate: --eval_strategy steps"),
        (f"{BEST} --save_steps 3", 9, "set --save_steps 1"),
        (f"{BEST} --eval_steps 0.1 --save_steps 0.3", 9, "set --save_steps 0.1"),
        (f"{BEST} --eval_steps 2", 9, "Save where you evaluate"),
        (f"{BEST} --metric_for_best_model accuracy", 9, "expected eval_loss"),
        (f"{BEST} --greater_is_better true", 9, "less is better"),
        ("--early_stopping_patience 2", 9, "--load_best_model_at_end true"),
        (f"{BEST} --early_stopping_patience 0", 9, "expected at least 1"),
        ("--gen_rows -1", 9, "expected at least 0"),
        ("--gen_max_new_tokens 0", 9, "expected at least 1"),
        ("--gen_time_share 0", 9, "expected more than 0"),
    ],
)
def test_arguments_that_cannot_work_name_the_remedy(flags, rows, remedy, tmp_path):
    with pytest.raises(ValueError, match=remedy):
        script, training, _ = parsed(flags, tmp_path)
        check_selection(script, training, rows)


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        ("", 0),
        ("--eval_strategy no", 9),
        ("--gen_rows 0 --eval_strategy no", 0),
        (f"{BEST} --early_stopping_patience 2 --metric_for_best_model eval_loss", 9),
        ("--load_best_model_at_end true --eval_strategy epoch --save_strategy epoch", 9),
        ("--load_best_model_at_end true --save_strategy best", 9),
    ],
)
def test_arguments_that_can_work_pass(flags, rows, tmp_path):
    script, training, _ = parsed(flags, tmp_path)
    check_selection(script, training, rows)
    assert training.restore_callback_states_from_checkpoint == ("patience" in flags)


def test_the_command_stops_before_it_touches_the_folder(tiny, monkeypatch, capsys):
    from sft.train import main

    monkeypatch.chdir(tiny)
    flags = "--config recipe.yaml --dataset data/datasets/m/train.jsonl --output_dir outputs/stop"
    assert main([*flags.split(), "--gen_rows", "2", "--eval_strategy", "no"]) == 2
    assert "--eval_strategy is no" in capsys.readouterr().err and not Path("outputs/stop").exists()


def test_the_rows_say_what_they_could_show(tiny, caplog):
    from sft.train import rows_of_the_test_split
    from sft.training.checks import log_detectable_effects

    caplog.set_level("INFO")
    for source in (tiny / "data/datasets/m", tiny / "data/datasets/m/test.jsonl"):
        dataset = load_dataset(source)
        log_detectable_effects(dataset.train.validation, rows_of_the_test_split(dataset))
    validation, test, alone = (record.getMessage() for record in caplog.records)
    assert validation.startswith("validation: 16 rows in 4 weeks; too few weeks")
    skill = planned_skill([4] * 16)
    assert skill is not None and test == (
        "test: 64 rows in 16 weeks; to be shown to have skill four times in five, a model must be "
        f"right in {0.5 + skill:.0%} of the rows, with as many calls of up as of down"
    )
    assert alone.startswith("validation:")  # a single file has no test split


def test_a_training_reads_its_dataset_once(tiny, monkeypatch, tmp_path, caplog):
    """Training rows, their majority and the test rows come from one reading of the source."""
    from data_pipeline.dataset import load
    from sft.train import prepare

    sources = []
    read_source = load.read_source

    def count(source):
        sources.append(source)
        return read_source(source)

    monkeypatch.setattr(load, "read_source", count)
    monkeypatch.chdir(tiny)
    flags = ["--config", "recipe.yaml", "--dataset", "data/datasets/m"]
    caplog.set_level("INFO")
    job = prepare(parse([*flags, "--output_dir", str(tmp_path / "out")], FP32), FP32)
    assert sources == ["data/datasets/m"] and job.data.train and "test: 64 rows" in caplog.text


def test_the_resolved_number_of_rows_leaves_the_arguments(tiny, monkeypatch, tmp_path):
    """The job states how many rows are answered; the parsed arguments stay as they were."""
    from sft.train import prepare

    monkeypatch.chdir(tiny)
    flags = ["--config", "recipe.yaml", "--dataset", "data/datasets/m"]
    arguments = parse([*flags, "--output_dir", str(tmp_path / "out")], FP32)
    job = prepare(arguments, FP32)
    assert arguments.script.gen_rows is None
    assert job.arguments.script.gen_rows == job.settings["gen_rows"] == 0


def planned(flags, rows=10, **changes):
    arguments = ["--config", str(ROOT / "recipes/smollm2.yaml"), "--output_dir", "outputs/x"]
    training = parse([*arguments, *flags.split()], FP32).training
    for name, value in changes.items():
        setattr(training, name, value)
    return planned_steps(training, rows)


BATCH = "--per_device_train_batch_size 2 --gradient_accumulation_steps 2"


@pytest.mark.parametrize(
    ("flags", "rows", "steps"),
    [
        (BATCH, 10, 3),
        (f"{BATCH} --num_train_epochs 1.5", 10, 5),
        (f"{BATCH} --num_train_epochs 0.01", 10, 1),
        (f"{BATCH} --num_train_epochs 2 --dataloader_drop_last true", 7, 4),
        (f"{BATCH} --max_steps 7", 10, 7),
        (f"{BATCH} --max_steps 7 --num_train_epochs 0", 10, 7),
    ],
)
def test_the_steps_of_a_training_are_known_before_it(flags, rows, steps):
    assert planned(flags, rows) == steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train_epochs": 0.0}, "--num_train_epochs is 0.0; expected more than 0"),
        ({"num_train_epochs": -1.0}, "--num_train_epochs is -1.0"),
        ({"num_train_epochs": float("nan")}, "--num_train_epochs is nan"),
        ({"max_steps": 0}, "--max_steps is 0; expected at least 1, or -1"),
        ({"max_steps": -3}, "--max_steps is -3"),
        ({"dataloader_drop_last": True}, "1 rows are not one batch of 2"),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps is 0"),
    ],
)
def test_a_training_without_a_step_is_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        planned(BATCH, rows=1, **changes)


def stopped(folder, resume=None):
    """(last step, what was kept) of a training that cannot improve: its learning rate is 0."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    from sft.training.callbacks import ResumableEarlyStopping
    from sft.training.trainer import kept_step

    torch.manual_seed(0)
    rows = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}] * 9
    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, num_key_value_heads=2, **shape))
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=1,
        max_steps=9,
        learning_rate=0.0,
        restore_callback_states_from_checkpoint=True,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    callbacks = [ResumableEarlyStopping(2)]
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows[:1], callbacks=callbacks
    )
    trainer.train(resume_from_checkpoint=resume and str(folder / resume))
    return trainer.state.global_step, kept_step(trainer)


def test_early_stopping_survives_an_interrupt(tmp_path):
    """A resumed training stops at the step at which it would have stopped, and keeps the same."""
    step, kept = stopped(tmp_path)
    assert step == 3 and kept["kept_step"] == 1 and kept["stopped_early"]
    assert (
        kept["kept_because"] == "the lowest validation loss of 3 evaluations"
        and kept["kept_eval_loss"] > 0
    )
    # Killed after it had stopped and before it ended: nothing is evaluated or saved any more.
    assert stopped(tmp_path, "checkpoint-3")[1] == kept and not (tmp_path / "checkpoint-4").exists()
    shutil.rmtree(tmp_path / "checkpoint-3")
    assert stopped(tmp_path, "checkpoint-2") == (3, kept)


@pytest.mark.slow
def test_the_command_keeps_the_best_step_and_stops_after_it(tiny, monkeypatch):
    """At so high a rate the model gets worse; which one is, depends on the CPU's rounding.

    The first step, in the warmup, has a rate of 0.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for rate in ("1", "0.3", "3", "0.1", "10", "0.03"):
        out = tiny / f"outputs/best-{rate}"
        flags = f"--config recipe.yaml --dataset data/datasets/m --output_dir {out} {BEST}"
        flags += f" --max_steps 9 --early_stopping_patience 2 --learning_rate {rate}"
        flags += " --save_total_limit 1 --gradient_accumulation_steps 1"
        process = command(tiny, f"-m sft.train {flags}")
        assert process.returncode == 0, process.stderr[-2000:]
        result = json.loads((out / "manifest.json").read_text())["result"]
        if result["stopped_early"]:
            break
    losses = {
        row["step"]: row["eval_loss"]
        for row in read_jsonl(out / "train_log.jsonl")
        if row["kind"] == "eval"
    }
    best = min(losses, key=losses.__getitem__)
    assert result["kept_step"] == best and result["kept_eval_loss"] == losses[best]
    assert result["kept_because"] == f"the lowest validation loss of {len(losses)} evaluations"
    assert result["stopped_early"] and result["steps"] == best + 2 == max(losses) < 9
    ours, kept = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (out, out / f"checkpoint-{best}")
    )
    assert ours.keys() == kept.keys() and all(ours[name].equal(kept[name]) for name in ours)


def test_fewer_processes_than_asked_for_are_refused(monkeypatch):
    monkeypatch.setenv("WEEKAHEAD_PROCESSES", "4")
    check_processes(4)
    with pytest.raises(ValueError, match="4 processes were asked for and 1 run; take an accel"):
        check_processes(1)
    monkeypatch.delenv("WEEKAHEAD_PROCESSES")
    check_processes(1)
