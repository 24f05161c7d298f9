"""What may change between an interrupt and going on, and what a manifest states of the settings."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from sft.training.arguments import argument_classes, parse
from sft.training.resume import (
    ALWAYS_STATED,
    PLACES,
    WEIGHTS_DEPEND_ON,
    check_folder,
    settings_of,
)
from weekahead.models.precision import Precision

ROOT = Path(__file__).parents[2]
FP32 = Precision("fp32", "cpu", "for the test")
STEPS = "--eval_strategy steps --eval_steps 1"
BEST = f"--load_best_model_at_end true --save_strategy steps --save_steps 1 {STEPS}"
BASE = {
    "name": "org/a",
    "revision": "1",
    "turn_format": "llama",
    "dtype": "float32",
    "quantization": None,
    "hub_id": None,
}
NOT_DECIDING = {
    # of evaluations and logs
    "logging_steps", "log_on_each_node", "logging_nan_inf_filter", "per_device_eval_batch_size",
    "prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object",
    "eval_accumulation_steps", "include_for_metrics", "batch_eval_metrics", "gen_rows",
    "gen_max_new_tokens", "gen_time_share", "knowledge_cutoff",
    # of files, memory and communication
    "save_on_each_node", "save_total_limit", "enable_jit_checkpoint", "use_cache",
    "torch_empty_cache_steps", "dataloader_multiprocessing_context", "debug",
    "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
    "ddp_static_graph", "ddp_backend",
}  # fmt: skip
"""Fields of the argument classes that were looked at and do not decide the weights."""


def settings(folder, flags=""):
    recipe = ["--config", str(ROOT / "recipes/smollm2.yaml"), "--output_dir", str(folder)]
    return settings_of(*parse([*recipe, *flags.split()], FP32))


def begin(folder, stated, base=BASE):
    """Write the manifest of a training that was begun with these settings."""
    manifest = {"result": None, "settings": stated, "base": base, "dataset": {"sha256": "a"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def field_names():
    return [field.name for arguments in argument_classes() for field in fields(arguments)]


@pytest.mark.parametrize("names", [WEIGHTS_DEPEND_ON, ALWAYS_STATED, PLACES, NOT_DECIDING])
def test_every_listed_name_is_a_field_of_the_arguments(names):
    assert set(names) <= set(field_names()) and len(set(names)) == len(names)


def test_a_field_that_a_newer_library_adds_is_looked_at():
    """Does it decide the weights? Then it belongs into WEIGHTS_DEPEND_ON, else into a list here."""
    listed = {*WEIGHTS_DEPEND_ON, *PLACES, *NOT_DECIDING}
    unlisted = [name for name in field_names() if name not in listed]
    assert [name for name in unlisted if not name.startswith(("hub_", "trackio_"))] == []


def test_what_decides_the_weights_can_be_stated():
    assert not PLACES & {*WEIGHTS_DEPEND_ON, *ALWAYS_STATED}


@pytest.mark.parametrize(
    "flags",
    [
        "--loss_type dft",
        "--adam_beta2 0.98",
        "--neftune_noise_alpha 5",
        "--data_seed 3",
        "--label_smoothing_factor 0.1",
        "--learning_rate 0.1",
        "--max_rows 5",
        "--lora_r 3",
    ],
)
def test_a_setting_that_decides_the_weights_is_refused(flags, tmp_path):
    default, changed = settings(tmp_path), settings(tmp_path, flags)
    for before, now in ((default, changed), (changed, default)):
        begin(tmp_path, before)
        with pytest.raises(ValueError, match=rf"{flags.split()[0][2:]} .* is now .*another RUN"):
            check_folder(tmp_path, now, BASE, "a")


def test_another_number_of_processes_is_refused(tmp_path):
    begin(tmp_path, {**settings(tmp_path), "world_size": 2})
    with pytest.raises(ValueError, match="world_size 2 is now 1"):
        check_folder(tmp_path, settings(tmp_path), BASE, "a")


@pytest.mark.parametrize(
    "flags",
    ["--gen_rows 3", "--logging_steps 7", "--save_total_limit 9", "--knowledge_cutoff 2023-12-31"],
)
def test_what_does_not_decide_the_weights_may_change(flags, tmp_path):
    begin(tmp_path, settings(tmp_path, BEST))
    check_folder(tmp_path, settings(tmp_path, f"{BEST} {flags}"), BASE, "a")


def test_steps_may_change_unless_the_best_one_is_kept(tmp_path):
    """Which steps are evaluated and saved decides which of them can be the best."""
    steps = "--eval_steps 2 --save_steps 2"
    begin(tmp_path, settings(tmp_path, STEPS))
    check_folder(tmp_path, settings(tmp_path, f"{STEPS} {steps}"), BASE, "a")
    begin(tmp_path, settings(tmp_path, BEST))
    with pytest.raises(ValueError, match=r"eval_steps .* is now 2"):
        check_folder(tmp_path, settings(tmp_path, f"{BEST} {steps}"), BASE, "a")


@pytest.mark.parametrize(
    "changed", [{"name": "org/b"}, {"revision": "2"}, {"turn_format": "r1"}, {"quantization": {}}]
)
def test_another_base_is_refused(changed, tmp_path):
    begin(tmp_path, settings(tmp_path))
    check_folder(tmp_path, settings(tmp_path), BASE, "a")
    with pytest.raises(ValueError, match=f"the base's {next(iter(changed))} .* choose another RUN"):
        check_folder(tmp_path, settings(tmp_path), BASE | changed, "a")


def test_other_rows_and_a_finished_training_are_refused(tmp_path):
    begin(tmp_path, settings(tmp_path))
    with pytest.raises(ValueError, match="the training rows are others"):
        check_folder(tmp_path, settings(tmp_path), BASE, "b")
    (tmp_path / "manifest.json").write_text(json.dumps({"result": {"steps": 1}}))
    with pytest.raises(FileExistsError, match="holds a finished training; choose another RUN"):
        check_folder(tmp_path, settings(tmp_path), BASE, "a")


def test_a_manifest_states_a_default_only_if_it_matters(tmp_path):
    stated, changed = settings(tmp_path), settings(tmp_path, "--adam_beta2 0.98 --loss_type dft")
    assert set(ALWAYS_STATED) <= set(stated) and "adam_beta2" not in stated
    added = {name: value for name, value in changed.items() if name not in stated}
    assert added == {"adam_beta2": 0.98, "loss_type": "dft"} and len(stated) < 50


def test_the_settings_hold_no_token_and_no_path(tmp_path):
    text = json.dumps(settings(tmp_path, "--hub_token hf_abc --hub_model_id me/x"))
    assert "hf_abc" not in text and "me/x" not in text and str(tmp_path) not in text
