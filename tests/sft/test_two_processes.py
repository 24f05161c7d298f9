"""Two processes train one adapter: who may write, and a stop at one step."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.tiny import ROOT
from tests.test_kills import MARK, left_over, workers
from weekahead.files import read_jsonl
from weekahead.locks import sole_writer, writer_of

pytestmark = pytest.mark.slow
FLAGS = (
    "-m sft.train --config recipe.yaml --dataset data/datasets/m --max_steps 60 --save_steps 50 "
    "--eval_strategy no --logging_steps 1 --per_device_train_batch_size 1 "
    "--gradient_accumulation_steps 1 --ddp_backend gloo --disable_tqdm true --output_dir"
)
TORCHRUN = "-m torch.distributed.run --standalone --nproc_per_node 2"
ACCELERATE = (
    "-m weekahead.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no --main_process_port 0"
)


def start(folder, launcher, out, mark):
    env = {**os.environ, "HOME": str(folder / "home"), "WANDB_MODE": "offline", MARK: mark}
    env |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, *launcher.split(), *FLAGS.split(), str(out)]
    return subprocess.Popen(
        words,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lines_of(error):
    return [line for line in error.splitlines() if line.startswith("sft.train:")]


def test_two_processes_leave_a_folder_that_is_taken(tiny):
    """One line of one process; the other one ends too, and what was there stays."""
    out = tiny / "outputs" / "taken"
    with sole_writer(out):
        process = start(tiny, ACCELERATE, out, "taken")
        _, error = process.communicate(timeout=120)
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert process.returncode == 2, error[-3000:]
    assert not left_over("taken")
    (line,) = lines_of(error)
    assert line == error.rstrip().splitlines()[-1]
    assert f"is being written by process {os.getpid()}: wait for it" in line


def wait_for_steps(process, out, steps):
    deadline = time.monotonic() + 120
    log = out / "train_log.jsonl"
    while not log.exists() or len(read_jsonl(log)) < steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("launcher", [ACCELERATE, TORCHRUN], ids=["accelerate", "torchrun"])
@pytest.mark.parametrize("target", ["launcher", "group", "second"])
def test_two_processes_stop_at_one_step(tiny, launcher, target):
    """A signal to the launcher, to all or to one process: all save the same checkpoint and end."""
    name = f"{launcher.split()[1].partition('.')[0]}-{target}"
    out = tiny / "outputs" / name
    process = start(tiny, launcher, out, name)
    wait_for_steps(process, out, 4)
    assert writer_of(out)
    if target == "group":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        os.kill(process.pid if target == "launcher" else workers(name)[1], signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert not left_over(name)
    (checkpoint,) = out.glob("checkpoint-*")
    stated = f"interrupted by SIGTERM; {checkpoint} is saved"
    (line,) = lines_of(error)
    assert stated in line
    if launcher == ACCELERATE:
        assert process.returncode == 143 and error.rstrip().splitlines()[-1] == line
    else:
        assert process.returncode != 0
