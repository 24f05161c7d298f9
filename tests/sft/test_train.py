"""The real training command on a model of two layers: what it leaves, and what survives a kill."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.support.tiny import TRAIN, command
from weekahead.files import read_jsonl

pytestmark = pytest.mark.slow
FLAGS = (
    "--config recipe.yaml --dataset data/datasets/m --max_steps 6 --save_steps 2 "
    "--eval_strategy no --save_total_limit 9"
)


def train(folder, out, *flags, **options):
    return command(folder, TRAIN, *FLAGS.split(), "--output_dir", out, *flags, **options)


def losses(folder):
    return [row["loss"] for row in read_jsonl(folder / "train_log.jsonl") if row["kind"] == "train"]


@pytest.fixture(scope="module")
def whole(tiny):
    """An uninterrupted run."""
    process = train(tiny, "outputs/whole")
    assert process.returncode == 0, process.stderr[-2000:]
    return tiny / "outputs" / "whole"


def test_a_run_leaves_a_complete_adapter_folder(whole):
    for name in (
        "adapter_config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "generation_config.json",
        "run_id",
    ):
        assert (whole / name).is_file(), name
    assert {path.name for path in (whole / "figures").iterdir()} >= {"loss.png", "gpu.png"}
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["result"]["steps"] == 6 and manifest["result"]["tokens_per_second"] > 0
    assert manifest["base"]["quantization"]["bnb_4bit_quant_type"] == "nf4"
    assert manifest["result"]["used"]["quantization"] == {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": manifest["result"]["used"]["base_dtype"],
    }
    assert manifest["synthetic"] is True
    system = [row for row in read_jsonl(whole / "train_log.jsonl") if row["kind"] == "system"]
    assert system and all(row["gpu"] or row["gpu_reason"] for row in system)


def test_the_adapter_is_fp32_and_was_trained(whole):
    weights = load_file(whole / "adapter_model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}
    lora_b = [weight for name, weight in weights.items() if "lora_B" in name]
    assert len(weights) == 2 * len(lora_b) == 2 * 7 * 2
    assert all(weight.abs().sum() > 0 for weight in lora_b)  # zero before training


def test_killed_and_resumed_it_ends_like_an_uninterrupted_run(tiny, whole):
    out = tiny / "outputs" / "killed-training"
    process = train(tiny, "outputs/killed-training", wait=False)
    child_log = out / "checkpoint-2" / "trainer_state.json"
    deadline = time.monotonic() + 240
    while not child_log.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    import psutil

    for child in psutil.Process(process.pid).children(recursive=True):
        child.send_signal(signal.SIGKILL)
    process.kill()
    process.communicate()
    assert child_log.exists() and not json.loads((out / "manifest.json").read_text())["result"]
    (out / "checkpoint-9").mkdir()  # a checkpoint that was being written
    resumed = train(tiny, "outputs/killed-training")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert losses(out) == losses(whole)
    assert_same_weights(out, whole)


def interrupted(whole, name):
    """A copy of the whole run as it is before its last write, which says that it has ended."""
    out = shutil.copytree(whole, whole.parent / name)
    stored = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(stored | {"result": None}))
    (out / "adapter_model.safetensors").unlink()
    return out


def assert_same_weights(out, whole):
    weights = load_file(out / "adapter_model.safetensors")
    expected = load_file(whole / "adapter_model.safetensors")
    assert weights.keys() == expected.keys()
    assert all(weights[name].equal(expected[name]) for name in weights)


def test_a_damaged_checkpoint_costs_its_steps_alone(tiny, whole):
    """The one before it is taken, and what lies beside the checkpoints is left where it is."""
    out = interrupted(whole, "damaged")
    optimizer = out / "checkpoint-6" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    odd = [out / "checkpoint-best", out / "checkpoint-3 (1)"]
    for path in odd:
        shutil.copytree(out / "checkpoint-2", path)
    process = train(tiny, "outputs/damaged", "--save_total_limit", "1")
    assert process.returncode == 0, process.stderr[-2000:]
    assert "checkpoint-6 is not used: optimizer.pt has changed" in process.stderr
    assert "going on from checkpoint-4" in process.stderr
    assert losses(out) == losses(whole)
    assert_same_weights(out, whole)
    assert sorted(out.glob("checkpoint-*")) == sorted([*odd, out / "checkpoint-6"])


def test_a_run_that_only_lacks_its_end_makes_no_step_more(tiny, whole):
    """Its last checkpoint is in the middle of an epoch, where the Trainer would make another."""
    out = interrupted(whole, "at-its-end")
    process = train(tiny, "outputs/at-its-end")
    assert process.returncode == 0, process.stderr[-2000:]
    result = json.loads((out / "manifest.json").read_text())["result"]
    assert result["steps"] == 6 and result["train_loss"] > 1
    assert_same_weights(out, whole)


@pytest.mark.parametrize(
    ("out", "flags", "message"),
    [
        ("whole", (), "holds a finished training; choose another RUN"),
        ("short", ("--max_length", "300"), "rows are longer than max_length 300"),
        ("nowhere", ("--dataset", "data/datasets/none"), "data/datasets/none"),
        ("empty", ("--max_steps", "-1", "--num_train_epochs", "0"), "num_train_epochs"),
    ],
)
def test_what_cannot_work_stops_before_the_model_is_loaded(tiny, whole, out, flags, message):
    before = {path: path.stat().st_mtime for path in Path(whole).iterdir()}
    process = train(tiny, f"outputs/{out}", *flags)
    assert process.returncode != 0 and message in process.stderr
    assert "Loading weights" not in process.stderr
    assert {path: path.stat().st_mtime for path in Path(whole).iterdir()} == before
