"""What may change between an interrupt and going on, and what a manifest states of the settings."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from sft.training.arguments import argument_classes, parse
from sft.training.resume import (
    ALWAYS_STATED,
    EVAL_LOSS_DEPENDS_ON,
    PLACES,
    WEIGHTS_DEPEND_ON,
    RunFacts,
    find_start,
    settings_of,
)
from tests.support.checkpoint import write_checkpoint
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
    "upload_artifacts", "logging_steps", "log_on_each_node", "logging_nan_inf_filter",
    "eval_do_concat_batches", "eval_use_gather_object",
    "eval_accumulation_steps", "include_for_metrics", "gen_rows",
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


def begin(folder, stated, base=BASE, **dataset):
    """A training that was begun with these settings and interrupted after its third step."""
    dataset = {"sha256": "a", **dataset}
    manifest = {"result": None, "settings": stated, "base": base, "dataset": dataset}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_checkpoint(folder, 3, world_size=stated["world_size"])


def check_folder(folder, stated, base=BASE, train="a", validation="v"):
    """The checkpoint that a training with these settings goes on from."""
    return find_start(folder, RunFacts(stated, base, train, validation)).checkpoint


def field_names():
    return [field.name for arguments in argument_classes() for field in fields(arguments)]


@pytest.mark.parametrize(
    "names", [WEIGHTS_DEPEND_ON, EVAL_LOSS_DEPENDS_ON, ALWAYS_STATED, PLACES, NOT_DECIDING]
)
def test_every_listed_name_is_a_field_of_the_arguments(names):
    assert set(names) <= set(field_names()) and len(set(names)) == len(names)


def test_a_field_that_a_newer_library_adds_is_looked_at():
    """Does it decide the weights? Then it belongs into WEIGHTS_DEPEND_ON, else into a list here."""
    listed = {*WEIGHTS_DEPEND_ON, *EVAL_LOSS_DEPENDS_ON, *PLACES, *NOT_DECIDING}
    unlisted = [name for name in field_names() if name not in listed]
    assert [name for name in unlisted if not name.startswith(("hub_", "trackio_"))] == []


def test_what_decides_the_weights_can_be_stated():
    decides = {*WEIGHTS_DEPEND_ON, *EVAL_LOSS_DEPENDS_ON}
    assert not PLACES & {*decides, *ALWAYS_STATED}
    assert not set(WEIGHTS_DEPEND_ON) & set(EVAL_LOSS_DEPENDS_ON)


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


@pytest.mark.parametrize(("processes", "steps"), [(2, 8), (8, 2), (16, 1)])
def test_processes_may_change_if_rows_per_step_stay(processes, steps, tmp_path, caplog):
    caplog.set_level("INFO")
    now = settings(tmp_path, "--gradient_accumulation_steps 16")
    begin(tmp_path, {**now, "world_size": processes, "gradient_accumulation_steps": steps})
    assert check_folder(tmp_path, now)
    assert f"were {processes} x {steps} and are now 1 x 16" in caplog.text


@pytest.mark.parametrize("order", ["group_by_length", "batch_rebalance"])
def test_processes_stay_if_the_order_depends_on_them(order, tmp_path):
    now = settings(tmp_path, f"--gradient_accumulation_steps 4 --train_sampling_strategy {order}")
    begin(tmp_path, {**now, "world_size": 2, "gradient_accumulation_steps": 2})
    with pytest.raises(ValueError, match=r"world_size 2 is now 1; gradient_acc.* 2 is now 4"):
        check_folder(tmp_path, now)


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


PLATEAU = f"{STEPS} --lr_scheduler_type reduce_lr_on_plateau"


@pytest.mark.parametrize(("flags", "decides"), [(STEPS, False), (BEST, True), (PLATEAU, True)])
def test_what_decides_eval_loss_is_compared_if_it_decides(flags, decides, tmp_path):
    """It chooses the step to keep, or the learning rate: then rows and batches of it matter."""
    stated = settings(tmp_path, flags)
    changed = settings(tmp_path, f"{flags} --per_device_eval_batch_size 5")
    begin(tmp_path, stated, validation_sha256="v")
    starts = ((changed, "v", "per_device_eval_batch_size"), (stated, "w", "validation rows"))
    for now, validation, words in starts:
        if not decides:
            assert check_folder(tmp_path, now, validation=validation).name == "checkpoint-3"
            continue
        with pytest.raises(ValueError, match=words):
            check_folder(tmp_path, now, validation=validation)
    begin(tmp_path, stated)  # an older manifest does not state the validation rows
    assert check_folder(tmp_path, stated).name == "checkpoint-3"


def test_a_start_that_left_no_checkpoint_binds_nobody(tmp_path, caplog):
    """Nothing of it is removed, and a finished training is still refused."""
    caplog.set_level("INFO")
    begin(tmp_path, settings(tmp_path))
    (tmp_path / "checkpoint-3" / "optimizer.pt").write_bytes(b"")
    others = settings(tmp_path, "--learning_rate 0.1")
    assert check_folder(tmp_path, others, BASE | {"name": "org/b"}, "b") is None
    assert "begun with other settings and left no checkpoint to go on from" in caplog.text
    assert "checkpoint-3 is not used: optimizer.pt missing or empty" in caplog.text
    assert (tmp_path / "checkpoint-3" / "trainer_state.json").exists()


def test_a_checkpoint_without_a_manifest_is_refused(tmp_path):
    write_checkpoint(tmp_path, 3)
    with pytest.raises(ValueError, match=r"checkpoint-3 has no manifest.json .*another RUN"):
        check_folder(tmp_path, settings(tmp_path))


def edited(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_of_another_run_is_no_reason_to_start_anew(tmp_path):
    """The training would write over checkpoints that are whole."""
    stated = settings(tmp_path)
    begin(tmp_path, stated)
    write_checkpoint(tmp_path, 3, run="first")
    edited(tmp_path, run_id="first")
    assert check_folder(tmp_path, stated).name == "checkpoint-3"
    edited(tmp_path, run_id="second")
    with pytest.raises(ValueError, match=r"checkpoint-3 is whole, but .*json is of another run"):
        check_folder(tmp_path, stated)


def test_a_folder_under_another_name_is_told(tmp_path, caplog):
    stated = settings(tmp_path)
    begin(tmp_path, stated)
    edited(tmp_path, run=tmp_path.name)
    assert check_folder(tmp_path, stated) and "was begun as" not in caplog.text
    edited(tmp_path, run="first")
    assert check_folder(tmp_path, stated) and "was begun as the run first" in caplog.text


def test_a_count_of_processes_that_is_none_is_refused(tmp_path):
    stated = settings(tmp_path)
    begin(tmp_path, stated)
    edited(tmp_path, settings={**stated, "world_size": "1"})
    with pytest.raises(ValueError, match="world_size '1' is now 1"):
        check_folder(tmp_path, stated)


def test_a_run_of_two_processes_is_no_new_run_for_one(tmp_path):
    """Its checkpoints are whole, so it binds: they lack what one process alone would save."""
    begin(tmp_path, {**settings(tmp_path), "world_size": 2})
    assert not (tmp_path / "checkpoint-3" / "rng_state.pth").exists()
    with pytest.raises(ValueError, match="world_size 2 is now 1"):
        check_folder(tmp_path, settings(tmp_path))


@pytest.mark.parametrize(
    "changed", [{"name": "org/b"}, {"revision": "2"}, {"turn_format": "r1"}, {"quantization": {}}]
)
def test_another_base_is_refused(changed, tmp_path):
    begin(tmp_path, settings(tmp_path))
    check_folder(tmp_path, settings(tmp_path), BASE, "a")
    name = next(iter(changed))
    words = "the base was org/a" if name == "name" else f"the base's {name}"
    with pytest.raises(ValueError, match=f"{words}.* choose another RUN"):
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
    recipe = ["--config", str(ROOT / "recipes/smollm2.yaml"), "--output_dir", str(tmp_path)]
    script, training, model = parse(recipe, FP32)
    training.hub_token, training.hub_model_id = "hf_abc", "me/x"
    text = json.dumps(settings_of(script, training, model))
    assert "hf_abc" not in text and "me/x" not in text and str(tmp_path) not in text
