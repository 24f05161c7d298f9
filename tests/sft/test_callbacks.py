"""The log of a training, written by a real Trainer on a tiny model, and pictures made from it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sft.training.callbacks import TrainLogCallback
from tests.support.miniature import make_trainer, train_and_log
from weekahead.tracking.plots import plot_comparison, plot_training

ROOT = Path(__file__).resolve().parents[2]

TRACKED = """
import logging, sys, time
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
import psutil
from transformers import TrainerCallback
from sft.training.callbacks import TrainLogCallback, guard_wandb
from tests.support.miniature import make_trainer
from weekahead.tracking.run import start_run

folder, mode = Path(sys.argv[1]), sys.argv[2]

class AtEachStep(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 1 and mode == "kill":
            children = psutil.Process().children(recursive=True)
            core = next(child for child in children if child.name() == "wandb-core")
            core.kill(); core.wait()
        if mode == "wait":
            time.sleep(1.5)

with start_run(folder, name="tiny", kind="train", config={"lr": 1}) as run:
    train_log = TrainLogCallback(folder, run, interval_seconds=1)
    trainer = make_trainer(folder, [train_log, AtEachStep()], ["wandb"])
    guard_wandb(trainer, run)
    trainer.train()
"""


def train_tracked(folder, mode, **variables):
    """A training with W&B in a fresh process with an empty home."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    own = {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-c", TRACKED, str(folder), mode]
    environment = inherited | own | variables
    process = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=240
    )
    assert process.returncode == 0, process.stderr
    return process


def read_record(folder):
    """W&B's offline record, by the client's own reader."""
    (record,) = (folder / "wandb").glob("offline-run-*")
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent)) or "wandb"
    command = [wandb, "leet", "inspect", "--json", str(record)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_rows(folder):
    return [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]


def of_kind(rows, kind):
    return [row for row in rows if row["kind"] == kind]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished training without W&B."""
    folder = tmp_path_factory.mktemp("training") / "run"
    trainer, callback = train_and_log(folder)
    assert callback.end["step"] == 4
    assert trainer.state.num_input_tokens_seen == 4 * 12
    return folder


def test_every_kind_of_row_is_there_with_its_figures(trained):
    rows = read_rows(trained)
    train, evaluation, end = of_kind(rows, "train"), of_kind(rows, "eval"), of_kind(rows, "end")
    assert [row["step"] for row in train] == [1, 2, 3, 4]
    assert [row["step"] for row in evaluation] == [2, 4]
    assert len(end) == 1
    assert rows[-1] == end[0]
    for row in train:
        assert row["loss"] > 0
        assert row["grad_norm"] > 0
        # 12 real tokens and 2 rows in every step, and padding is not counted
        assert row["tokens_per_second"] / row["steps_per_second"] == pytest.approx(12)
        assert row["samples_per_second"] / row["steps_per_second"] == pytest.approx(2)
        assert row["mfu"] == pytest.approx(row["tokens_per_second"] / 1e6)
    names = {"eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
    assert names <= set(evaluation[0])
    for name in (
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "train_loss",
    ):
        assert end[0][name] > 0
    assert end[0]["tokens_per_second"] > 0
    assert end[0]["peak_rss_bytes"] > 50 * 2**20
    memory, reason = end[0]["peak_gpu_memory_bytes"], end[0]["peak_gpu_memory_reason"]
    assert (memory is None) == (reason is not None)
    times = [row["time"] for row in rows if row["kind"] != "system"]
    assert times == sorted(times)


def test_a_short_training_has_a_system_row(trained):
    system = of_kind(read_rows(trained), "system")
    assert system
    assert system[0]["rss_bytes"] > 50 * 2**20
    assert (system[0]["gpu"] is None) == (system[0]["gpu_reason"] is not None)


def test_a_resumed_training_leaves_one_clean_series(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    shutil.rmtree(folder / "checkpoint-4")
    before = read_rows(folder)
    with (folder / "train_log.jsonl").open("a") as file:
        file.write('{"step": 4, "kind": "train", "lo')  # what a SIGKILL leaves
    train_and_log(folder, resume=True)
    after = read_rows(folder)
    assert [row["step"] for row in of_kind(after, "train")] == [1, 2, 3, 4]
    assert [row["step"] for row in of_kind(after, "eval")] == [2, 4]
    losses = [row["loss"] for row in of_kind(before, "train")]
    assert [row["loss"] for row in of_kind(after, "train")] == losses
    assert [row["resumed_from_step"] for row in of_kind(after, "end")] == [2]
    resumed = of_kind(after, "train")[2]
    assert resumed["time"] >= of_kind(before, "train")[1]["time"]
    assert resumed["tokens_per_second"] / resumed["steps_per_second"] == pytest.approx(12)


def test_a_new_training_in_the_same_folder_starts_a_new_log(tmp_path):
    from sft.training.train_log import TrainLog

    log = TrainLog(tmp_path / "train_log.jsonl")
    log.begin(0)
    values = {"loss": float("nan"), "grad_norm": float("inf"), "learning_rate": 1e-3}
    log.add("train", 1, 0.5, values)
    expected = {"loss": None, "grad_norm": None, "learning_rate": 1e-3}
    expected |= {"step": 1, "epoch": 0.5, "time": 0, "kind": "train"}
    assert read_rows(tmp_path)[0] | {"time": 0} == expected
    log.begin(0)
    assert read_rows(tmp_path) == []


def test_the_speed_leaves_out_evaluation_and_saving():
    from transformers import TrainerState

    from sft.training.train_log import ThroughputMeter

    state = TrainerState()
    meter = ThroughputMeter(state)
    time.sleep(0.05)
    meter.mark()
    time.sleep(0.5)  # an evaluation
    meter.resume()
    state.global_step, state.epoch, state.num_input_tokens_seen = 1, 0.5, 100
    rates = meter.read(state, rows=4, counts_tokens=True)
    assert rates["steps_per_second"] > 1 / 0.3
    assert rates["tokens_per_second"] == pytest.approx(100 * rates["steps_per_second"])
    assert rates["samples_per_second"] == pytest.approx(2 * rates["steps_per_second"])
    assert meter.total_seconds < 0.3
    unknown = meter.read(state, rows=None, counts_tokens=False)
    assert (unknown["samples_per_second"], unknown["tokens_per_second"]) == (None, None)


@pytest.mark.slow
def test_losses_and_speeds_reach_the_run_on_one_axis(tmp_path):
    folder = tmp_path / "run"
    train_tracked(folder, "offline")
    history = [record["history"]["item"] for record in read_record(folder) if "history" in record]
    for name in ("train/loss", "eval/loss", "speed/tokens_per_second", "host/rss_bytes"):
        items = [item for item in history if name in item]
        assert items, f"{name} was not logged"
        assert all("train/global_step" in item for item in items)


@pytest.mark.slow
def test_gpu_figures_reach_record_log_and_picture(tmp_path, nvml_stub):
    """From a driver's binary interface: by the client's own library, and by ours."""
    from weekahead.tracking.plots import _system

    folder = tmp_path / "run"
    train_tracked(folder, "wait", LD_LIBRARY_PATH=str(nvml_stub), CUDA_VISIBLE_DEVICES="0")
    client: dict[str, float] = {}
    ours: dict[str, float] = {}
    for record in read_record(folder):
        client |= record.get("stats", {}).get("item", {})
        ours |= record.get("history", {}).get("item", {})
    names = ("gpu", "memoryAllocatedBytes", "powerWatts", "temp")
    assert [client[f"gpu.0.{name}"] for name in names] == [73, 4 * 2**30, 65.5, 61]
    names = ("utilization_percent", "memory_used_bytes", "power_watts", "temperature_celsius")
    assert [ours[f"gpu/0/{name}"] for name in names] == [73, 4 * 2**30, 65.5, 61]
    rows = read_rows(folder)
    system, end = of_kind(rows, "system"), of_kind(rows, "end")[0]
    assert [system[0]["gpu"][0][name] for name in names] == [73, 4 * 2**30, 65.5, 61]
    seconds = system[-1]["time"] - system[0]["time"]
    assert seconds > 1 and end["gpu_energy_wh"] == pytest.approx(65.5 * seconds / 3600)
    assert ours["gpu/energy_wh"] == end["gpu_energy_wh"]
    drawn = [axes.lines[0].get_ydata() for axes in _system(rows).axes]
    assert [set(values) for values in drawn] == [{73}, {4.0}, {65.5}, {61}]


def test_a_training_on_cuda_without_gpu_figures_warns_once(tmp_path, monkeypatch, caplog):
    from weekahead.tracking.gpu_check import GpuCheck

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    callback = TrainLogCallback(tmp_path / "run", gpu_check=GpuCheck(after_seconds=0))
    make_trainer(tmp_path / "run", [callback]).train()
    assert caplog.text.count("no GPU sample after") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "warnings"), [("kill", 1), ("disabled", 0)])
def test_training_goes_on_without_wandb(tmp_path, mode, warnings):
    folder = tmp_path / "run"
    variables = {"WANDB_MODE": "disabled"} if mode == "disabled" else {}
    process = train_tracked(folder, mode, **variables)
    assert process.stderr.count("W&B failed") == warnings
    assert [row["step"] for row in of_kind(read_rows(folder), "train")] == [1, 2, 3, 4]
    assert len(of_kind(read_rows(folder), "end")) == 1


def gpu_rows():
    """Two samples of two GPUs, one of which does not tell its power."""
    gpu = {
        "name": "Stub T4",
        "utilization_percent": 73,
        "memory_used_bytes": 2**32,
        "temperature_celsius": 61,
    }
    gpus = [gpu | {"index": 0, "power_watts": 65.5}, gpu | {"index": 1, "power_watts": None}]
    base = {"kind": "system", "step": 1, "epoch": 0.1, "cpu_percent": 99.0, "rss_bytes": 2**30}
    return [base | {"time": t, "gpu": gpus, "gpu_reason": None} for t in (1.0, 300.0)]


@pytest.mark.parametrize("source", ["a training", "two GPUs", "nothing"])
def test_four_pictures_come_from_the_rows_alone(tmp_path, request, source):
    rows = {"two GPUs": gpu_rows(), "nothing": []}.get(source)
    rows = read_rows(request.getfixturevalue("trained")) if rows is None else rows
    paths = plot_training(rows, tmp_path / "figures")
    names = ["loss.png", "learning_rate.png", "speed.png", "gpu.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir()), "nothing half-written is left"


def test_ended_and_interrupted_runs_share_one_picture(tmp_path, trained):
    rows = read_rows(trained)
    runs = {"ended": rows, "interrupted": rows[:-1], "nothing": []}
    path = plot_comparison(runs, tmp_path / "figures" / "c.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_a_gpu_the_picture_says_why(trained):
    from weekahead.tracking.plots import _host

    rows = [
        row | {"gpu": None, "gpu_reason": "Driver Not Loaded"}
        for row in of_kind(read_rows(trained), "system")
    ]
    assert "no GPU figures: Driver Not Loaded" in _host(rows).get_suptitle()
