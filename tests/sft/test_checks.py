"""Which step is kept, when a training stops, what cannot work, and what the rows could show."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from eval.metrics.statistics import planned_effect
from sft.training.arguments import parse
from sft.training.checks import check_selection
from tests.support.tiny import command
from weekahead.files import read_jsonl
from weekahead.models.precision import Precision

ROOT = Path(__file__).parents[2]
FP32 = Precision("fp32", "cpu", "for the test")
BEST = "--load_best_model_at_end true --eval_strategy steps --save_strategy steps --eval_steps 1 --save_steps 1"


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
def test_what_cannot_work_names_the_remedy(flags, rows, remedy, tmp_path):
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
def test_what_can_work_does(flags, rows, tmp_path):
    script, training, _ = parsed(flags, tmp_path)
    check_selection(script, training, rows)
    assert training.restore_callback_states_from_checkpoint == ("patience" in flags)


def test_the_command_stops_before_it_touches_the_folder(tiny, monkeypatch, capsys):
    from sft.train import main

    monkeypatch.chdir(tiny)
    flags = "--config recipe.yaml --dataset data/datasets/m/train.jsonl --output_dir outputs/stop --gen_rows 2"
    assert main([*flags.split(), "--eval_strategy", "no"]) == 2
    assert "--eval_strategy is no" in capsys.readouterr().err and not Path("outputs/stop").exists()


def test_the_rows_say_beforehand_what_they_could_show(tiny, caplog):
    from data_pipeline.dataset.load import train_rows
    from sft.training.checks import log_detectable_effects

    caplog.set_level("INFO")
    for source in (tiny / "data/datasets/m", tiny / "data/datasets/m/test.jsonl"):
        log_detectable_effects(train_rows(source), str(source))
    validation, test, alone = (record.getMessage() for record in caplog.records)
    assert validation.startswith("validation: 16 rows in 4 weeks; too few weeks")
    effect = planned_effect([4] * 16)
    assert test == (
        "test: 64 rows in 16 weeks; the smallest direction accuracy they could show to differ from 0.5 is about "
        f"{0.5 + effect:.2f}"
    )
    assert alone.startswith("validation:")  # a single file has no test split


def test_steps_are_free_to_change_on_going_on_only_where_no_best_one_is_kept(tmp_path):
    from sft.training.resume import check_folder, settings_of

    for flags, refused in (("--eval_strategy steps --eval_steps 1", False), (BEST, True)):
        begun = settings_of(*parsed(flags, tmp_path))
        base = {
            "name": "org/a",
            "revision": "1",
            "turn_format": "llama",
            "dtype": "float32",
            "quantization": None,
        }
        manifest = {
            "result": None,
            "settings": begun,
            "base": {**base, "hub_id": None},
            "dataset": {"sha256": "a"},
        }
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        check_folder(tmp_path, settings_of(*parsed(f"{flags} --gen_rows 3", tmp_path)), base, "a")
        now = settings_of(*parsed(f"{flags} --eval_steps 2 --save_steps 2", tmp_path))
        if not refused:
            check_folder(tmp_path, now, base, "a")
            continue
        with pytest.raises(ValueError, match=r"eval_steps .* is now 2"):
            check_folder(tmp_path, now, base, "a")


@pytest.mark.parametrize(
    "flags", ["--loss_type dft", "--adam_beta2 0.98", "--neftune_noise_alpha 5", "--data_seed 3"]
)
def test_a_setting_that_no_list_names_is_refused_on_going_on(flags, tmp_path):
    from sft.training.resume import check_folder, settings_of

    plain, other = settings_of(*parsed("", tmp_path)), settings_of(*parsed(flags, tmp_path))
    for begun, now in ((plain, other), (other, plain)):
        manifest = {"result": None, "settings": begun, "base": {}, "dataset": {"sha256": "a"}}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=flags.split()[0][2:]):
            check_folder(tmp_path, now, {}, "a")


@pytest.mark.parametrize(
    "changed", [{"name": "org/b"}, {"revision": "2"}, {"turn_format": "r1"}, {"quantization": {}}]
)
def test_another_models_checkpoint_is_never_gone_on_from(changed, tmp_path):
    from sft.training.resume import check_folder, settings_of

    settings = settings_of(*parsed("", tmp_path))
    base = {
        "name": "org/a",
        "revision": "1",
        "turn_format": "llama",
        "dtype": "float32",
        "quantization": None,
    }
    manifest = {"result": None, "settings": settings, "base": base, "dataset": {"sha256": "a"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    check_folder(tmp_path, settings, base, "a")
    with pytest.raises(ValueError, match=f"the base's {next(iter(changed))} .* choose another RUN"):
        check_folder(tmp_path, settings, base | changed, "a")


def test_no_token_and_no_path_stands_among_the_settings(tmp_path):
    from sft.training.resume import settings_of

    text = json.dumps(settings_of(*parsed("--hub_token hf_abc --hub_model_id me/x", tmp_path)))
    assert "hf_abc" not in text and "me/x" not in text and str(tmp_path) not in text


def stopped(folder, resume=None):
    """What a training kept that cannot improve: its rate is 0, so its first evaluation stays the best."""
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
    often = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
        "load_best_model_at_end": True,
    }
    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True}
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=1, max_steps=9, learning_rate=0.0,
        restore_callback_states_from_checkpoint=True, **often, **quiet,
    )  # fmt: skip
    callbacks = [ResumableEarlyStopping(2)]
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows[:1], callbacks=callbacks
    )
    trainer.train(resume_from_checkpoint=resume and str(folder / resume))
    return trainer.state.global_step, kept_step(trainer)


def test_a_training_that_brings_nothing_stops_where_it_would_have_without_an_interrupt(tmp_path):
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
def test_the_command_keeps_the_step_of_the_lowest_validation_loss_and_stops_after_it(
    tiny, monkeypatch
):
    """At so high a rate the model is worse from the second step on (the first, in the warmup, has a rate of 0)."""
    flags = f"--config recipe.yaml --dataset data/datasets/m --output_dir outputs/best {BEST} --max_steps 9"
    flags += " --early_stopping_patience 2 --learning_rate 3 --save_total_limit 1 --gradient_accumulation_steps 1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = command(tiny, f"-m sft.train {flags}")
    assert done.returncode == 0, done.stderr[-2000:]
    out = tiny / "outputs/best"
    losses = {
        row["step"]: row["eval_loss"]
        for row in read_jsonl(out / "train_log.jsonl")
        if row["kind"] == "eval"
    }
    best = min(losses, key=losses.__getitem__)
    result = json.loads((out / "manifest.json").read_text())["result"]
    assert result["kept_step"] == best and result["kept_eval_loss"] == losses[best]
    assert result["kept_because"] == f"the lowest validation loss of {len(losses)} evaluations"
    assert result["stopped_early"] and result["steps"] == best + 2 == max(losses) < 9
    ours, kept = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (out, out / f"checkpoint-{best}")
    )
    assert ours.keys() == kept.keys() and all(ours[name].equal(kept[name]) for name in ours)
