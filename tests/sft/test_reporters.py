"""TensorBoard and Trackio beside W&B, read back by their own readers; skipped without them."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from transformers import TrainerCallback

from sft.training.callbacks import TrainLogCallback
from sft.training.reporters import Reporter, Reporters
from tests.support.miniature import make_trainer
from tests.support.tiny import ROOT

TRAIN = """
import sys
from pathlib import Path
from transformers import TrainerCallback

from sft.training.callbacks import TrainLogCallback
from sft.training.reporters import named_for_reports, take_over_reporters
from tests.support.miniature import make_trainer
folder, target = Path(sys.argv[1]), sys.argv[2]
train_log = TrainLogCallback(folder, interval_seconds=1)
trainer = make_trainer(folder, [train_log], [target])
trainer.args = named_for_reports(trainer.args, folder, "a1b2")
train_log.reporters = take_over_reporters(trainer, folder)
trainer.train()
"""
ASK_TRACKIO = "import sys; from trackio.cli import main; sys.argv[:] = sys.argv[1:]; main()"
FIGURES = (
    "train/loss", "eval/loss", "train/learning_rate", "speed/tokens_per_second",
    "gpu/0/utilization_percent", "gpu/0/memory_used_bytes", "gpu/0/power_watts",
    "gpu/0/temperature_celsius",
)  # fmt: skip


def python(code, folder, home, *words, **variables):
    own = {"HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    own |= {"TRACKIO_DIR": str(home / "trackio"), "CUDA_VISIBLE_DEVICES": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *words],
        cwd=home,
        env={**os.environ, **own, **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
    )


@pytest.mark.slow
@needs("tensorboard")
def test_tensorboard_gets_losses_and_gpu_figures(tmp_path, nvml_stub):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    python(TRAIN, folder, tmp_path, "tensorboard", LD_LIBRARY_PATH=str(nvml_stub))
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    assert set(FIGURES) <= set(found)
    assert [event.step for event in found["train/loss"]] == [1, 2, 3, 4]
    assert found["gpu/0/power_watts"][-1].value == 65.5


@pytest.mark.slow
@needs("trackio")
def test_trackio_gets_losses_and_gpu_figures(tmp_path, nvml_stub):
    """In a run whose name is its own, so that no other training goes on in it."""
    folder = tmp_path / "run"
    python(TRAIN, folder, tmp_path, "trackio", LD_LIBRARY_PATH=str(nvml_stub))
    of_the_run = ("--project", "weekahead", "--run", "run-a1b2", "--json")
    metrics = python(ASK_TRACKIO, "trackio", tmp_path, "list", "metrics", *of_the_run).stdout
    assert set(FIGURES) <= set(json.loads(metrics)["metrics"])
    asked = ("get", "metric", *of_the_run, "--metric", "gpu/0/power_watts")
    values = json.loads(python(ASK_TRACKIO, "trackio", tmp_path, *asked).stdout)["values"]
    assert {each["value"] for each in values} == {65.5}


def test_a_tracker_that_fails_is_one_warning(tmp_path, caplog):
    class Broken(TrainerCallback):
        def on_log(self, *args, **kwargs):
            raise OSError("no space left on device")

    broken = Reporter("Trackio", Broken(), lambda figures, step: figures["no such figure"])
    train_log = TrainLogCallback(tmp_path / "run")
    train_log.reporters = Reporters([broken])
    make_trainer(tmp_path / "run", [train_log, train_log.reporters]).train()
    assert train_log.end["step"] == 4
    assert caplog.text.count("Trackio failed (") == 1
