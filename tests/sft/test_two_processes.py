"""Two processes train one adapter: who may write, a stop at one step, and what one would train."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from tests.support.tiny import ROOT, command
from tests.test_kills import MARK, left_over, workers
from weekahead.files import read_jsonl
from weekahead.locks import sole_writer, writer_of
from weekahead.models.precision import choose_precision

pytestmark = pytest.mark.slow
FLAGS = (
    "-m sft.train --config recipe.yaml --dataset data/datasets/m --max_steps 60 --save_steps 50 "
    "--eval_strategy no --logging_steps 1 --per_device_train_batch_size 1 "
    "--gradient_accumulation_steps 1 --ddp_backend gloo --disable_tqdm true --output_dir"
)
SHORT = ("--save_steps", "2", "--max_steps", "20")
TORCHRUN = "-m torch.distributed.run --standalone --nproc_per_node 2"
ACCELERATE = (
    "-m weekahead.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no --main_process_port 0"
)


def start(folder, launcher, out, mark, *more):
    env = {**os.environ, "HOME": str(folder / "home"), "WANDB_MODE": "offline", MARK: mark}
    env |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, *launcher.split(), *FLAGS.split(), str(out), *more]
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


def trained(folder, out, processes):
    """The folder of three steps of four rows, which one or two processes train, or go on with."""
    launcher = TORCHRUN if processes == 2 else ""
    flags = FLAGS.replace("--max_steps 60 --save_steps 50", "--max_steps 3 --save_steps 1")
    flags = flags.replace("_accumulation_steps 1", f"_accumulation_steps {4 // processes}")
    if processes == 1:
        flags = flags.replace("--ddp_backend gloo ", "")
    path = folder / "outputs" / out
    words = f"{launcher} {flags} {path} --lora_dropout 0 --save_total_limit 9".split()
    process = command(folder, words[0], *words[1:])
    assert process.returncode == 0, process.stderr[-3000:]
    return path


def stopped_after(run, step):
    """Make `run` what a kill would have left behind after `step`."""
    for path in run.glob("checkpoint-*"):
        if int(path.name.partition("-")[2]) > step:
            shutil.rmtree(path)
    (run / "adapter_model.safetensors").unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "result": None}))


def weights(run):
    tensors = load_file(run / "adapter_model.safetensors")
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def test_two_processes_train_the_adapter_of_one(tiny, monkeypatch):
    """Without dropout, and also if a run goes on with another number of processes.

    Bit for bit on the CPUs with bf16 products that it was run on; in fp32 the last digits differ.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as torchrun does; some products depend on it
    one, two = trained(tiny, "one", 1), trained(tiny, "two", 2)
    whole = weights(one)
    near = 0.0 if choose_precision().mode == "bf16" else 1e-6
    assert far(weights(two), whole) <= near
    for run, processes in ((one, 2), (two, 1)):
        stopped_after(run, 1)
        trained(tiny, run.name, processes)
        stopped_after(run, 1)  # of the other number than the manifest now states
        trained(tiny, run.name, processes)
        result = json.loads((run / "manifest.json").read_text())["result"]
        assert result["resumed_from_step"] == 1
        assert far(weights(run), whole) <= near


def far(ours, theirs):
    """The largest difference of two adapters of the same tensors."""
    import torch

    assert ours.keys() == theirs.keys()
    return max(
        (torch.tensor(ours[name]) - torch.tensor(theirs[name])).abs().max().item() for name in ours
    )


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


def start_machine(folder, out, rank, port):
    """One of two machines of one process each, which meet at a port of this one."""
    launcher = (
        f"-m weekahead.launch --config_file {ROOT}/accelerate_configs/multi_node.yaml "
        f"--num_processes 2 --machine_rank {rank} --main_process_ip 127.0.0.1 "
        f"--main_process_port {port}"
    )
    return start(folder, launcher, out, f"machine-{rank}", *SHORT)


def start_machines(folder, out):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start_machine(folder, out, rank, port) for rank in (0, 1)]


def test_two_machines_go_on_after_one_is_lost(tiny, monkeypatch):
    """The machine that is left ends with a reason; the same commands on both go on."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    out = tiny / "outputs" / "machines"
    first, second = start_machines(tiny, out)
    wait_for_steps(first, out, 5)
    for lost in (second.pid, *workers("machine-1")):
        os.kill(lost, signal.SIGKILL)
    second.communicate()
    _, error = first.communicate(timeout=120)
    assert first.returncode == 2 and "another process of this command" in lines_of(error)[-1]
    for process in start_machines(tiny, out):
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error[-3000:]
    result = json.loads((out / "manifest.json").read_text())["result"]
    assert result["resumed_from_step"] >= 2 and result["steps"] == 20
