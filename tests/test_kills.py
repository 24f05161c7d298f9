"""Commands that are killed again and again end with the bytes of an undisturbed run.

Each command is started as a user starts it, gets a signal at one moment of its work, and is started
again, until it has ended. After each signal no process of it may be left.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.tiny import ROOT
from weekahead.files import read_jsonl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]
MARK = "WEEKAHEAD_TEST_MARK"
CONFIG = f"--config_file {ROOT}/accelerate_configs/cpu.yaml"
TRAIN = (
    "-m sft.train --config recipe.yaml --dataset data/datasets/m --max_steps 14 --save_steps 3 "
    "--eval_strategy no --save_total_limit 20 --logging_steps 1 --per_device_train_batch_size 1 "
    "--gradient_accumulation_steps 1 --output_dir"
)
MODEL = "--config fp32.yaml --adapter adapter --dataset data/datasets/m --limit 12 --batch_size 2"


@dataclass(frozen=True)
class Kill:
    """A signal, who gets it, and the file whose appearance is the moment."""

    number: signal.Signals
    target: str
    """launcher: the process that was started; group: all of its group; worker: what trains."""
    moment: str

    def __str__(self) -> str:
        return f"{self.number.name}-{self.target}-{self.moment}"


def start(folder, words, mark):
    env = {**os.environ, "HOME": str(folder / "home"), "WANDB_MODE": "offline"}
    env |= {"PYTHONPATH": str(ROOT), MARK: mark}
    return subprocess.Popen(
        [sys.executable, *words.split()],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes(mark):
    """The ids of the live processes that were started with this mark."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and wanted in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def workers(mark, module="sft.train"):
    """The processes among them that run `module` itself: no launcher, and nothing of W&B."""
    found = []
    for process in processes(mark):
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
        if words[1:3] == ["-u", "-m"] or words[1:3] == ["-m", module]:
            found.append(process)
    return sorted(found)


def left_over(mark):
    """The processes with this mark that do not end within seconds: W&B's own notices a kill."""
    deadline = time.monotonic() + 15
    while processes(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes(mark)


def send(kill, process, mark):
    if process.poll() is not None:
        return
    if kill.target == "group":
        os.killpg(process.pid, kill.number)
    elif kill.target == "launcher":
        os.kill(process.pid, kill.number)
    else:
        os.kill(workers(mark)[-1], kill.number)


def disturbed(folder, words, out, kill):
    """Start the command, send the signal at its moment; standard error and status at its end."""
    mark = uuid.uuid4().hex
    process = start(folder, words, mark)
    known = set(out.glob(kill.moment))
    deadline = time.monotonic() + 200
    while process.poll() is None and not set(out.glob(kill.moment)) - known:
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.002)
    send(kill, process, mark)
    _, err = process.communicate(timeout=120)  # nobody holds its pipes any more
    assert not left_over(mark), f"orphans after {kill}"
    assert "Traceback" not in err or kill.target == "launcher", err[-3000:]
    return err, process.returncode


def check_end(kill, err, status):
    """Our line is last and the status says which signal it was, as far as the process could."""
    if kill.number is signal.SIGKILL:
        return
    last = [line for line in err.splitlines() if line.strip()][-1]
    assert "interrupted" in last, f"{kill}, status {status}: {err[-2000:]}"
    assert status in (128 + kill.number, -kill.number)


def run_whole(folder, words):
    mark = uuid.uuid4().hex
    process = start(folder, words, mark)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    assert not left_over(mark)
    return err


KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
TRAIN_KILLS = [
    Kill(TERM, "group", "wandb/offline-run-*"),  # while W&B starts: all steps are still to come
    Kill(TERM, "launcher", "checkpoint-3/adapter_model.safetensors"),  # while it is written
    Kill(KILL, "launcher", "checkpoint-6"),
    Kill(INT, "group", "checkpoint-9"),
    Kill(KILL, "group", "checkpoint-12/adapter_model.safetensors"),
    Kill(TERM, "worker", ".adapter"),  # while the adapter is written
]


def test_a_training_that_is_killed_ends_with_the_same_bytes(tiny):
    launchers = ("-m weekahead.launch", "-m accelerate.commands.launch --quiet")
    run_whole(tiny, f"{launchers[0]} {CONFIG} {TRAIN} outputs/undisturbed")
    out = tiny / "outputs" / "disturbed"
    for number, kill in enumerate(TRAIN_KILLS):
        launcher = launchers[number % 2 if kill.target == "launcher" else 0]
        err, status = disturbed(tiny, f"{launcher} {CONFIG} {TRAIN} outputs/disturbed", out, kill)
        if kill.moment == ".adapter":
            assert status == 0  # it was all but done
        elif launcher == launchers[0]:
            check_end(kill, err, status)
            assert kill.number is KILL or "is saved" in err or "wandb" in kill.moment
    whole = tiny / "outputs" / "undisturbed"
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()
    losses = [
        [row["loss"] for row in read_jsonl(folder / "train_log.jsonl") if row["kind"] == "train"]
        for folder in (whole, out)
    ]
    assert losses[0] == losses[1]
    assert not list(out.glob(".lock")) and not list(out.glob(".adapter"))


EVAL_KILLS = [
    Kill(TERM, "launcher", "*manifest.json"),
    Kill(KILL, "launcher", "{}"),
    Kill(INT, "group", "{}"),
    Kill(TERM, "group", "{}"),
    Kill(KILL, "group", "{}"),
    Kill(INT, "launcher", ".lock"),
]


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (f"-m eval.generate {MODEL} --max_new_tokens 24 --out", "generations.jsonl"),
        (f"-m eval.likelihood {MODEL} --prefix direct --out", "likelihoods.jsonl"),
    ],
    ids=["generate", "likelihood"],
)
def test_rows_that_are_killed_end_as_whole_ones(small, tiny, tmp_path, command, file):
    run_whole(tiny, f"{command} {tmp_path / 'whole'}")
    out = tmp_path / "disturbed"
    for kill in EVAL_KILLS:
        path = out / file
        rows = len(path.read_bytes().splitlines()) if path.exists() else 0
        err, status = killed_at_rows(tiny, f"{command} {out}", out, kill, path, rows)
        if status:
            check_end(kill, err, status)
    run_whole(tiny, f"{command} {out}")
    assert rows_of(out / file) == rows_of(tmp_path / "whole" / file)


def killed_at_rows(folder, words, out, kill, path, rows):
    """As `disturbed`; a moment of {} is one row more than there were."""
    if kill.moment != "{}":
        return disturbed(folder, words, out, kill)
    mark = uuid.uuid4().hex
    process = start(folder, words, mark)
    while process.poll() is None:
        if path.exists() and len(path.read_bytes().splitlines()) > rows:
            break
        time.sleep(0.002)
    if process.poll() is None:
        send(kill, process, mark)
    _, err = process.communicate(timeout=120)
    assert not left_over(mark), f"orphans after {kill}"
    assert "Traceback" not in err, err[-3000:]
    return err, process.returncode


def rows_of(path):
    times = ("seconds", "latency_seconds")
    return [
        {name: value for name, value in row.items() if name not in times}
        for row in read_jsonl(path)
    ]
