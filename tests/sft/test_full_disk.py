"""A disk that gets full in a training: what was there stays, and the same command goes on.

A limit on the size of files, set in the process itself, stands for the disk.
"""

import json

import pytest

from tests.sft.test_two_processes import ACCELERATE
from tests.support.tiny import command

pytestmark = pytest.mark.slow
FULL = """import resource, sys
from sft import train
from sft.training import saving, trainer

place, name = {place}, "{name}"
original = getattr(place, name)
calls = []
def on_a_full_disk(*arguments):
    calls.append(name)
    if len(calls) == {call}:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    return original(*arguments)
setattr(place, name, on_a_full_disk)
sys.exit(train.main())"""
FLAGS = (
    "--config recipe.yaml --dataset data/datasets/m --max_steps 4 --save_steps 2 "
    "--eval_strategy no --per_device_train_batch_size 1 --gradient_accumulation_steps 1 "
    "--report_to none --output_dir"
)


@pytest.mark.parametrize(
    ("place", "name", "call", "checkpoints"),
    [
        ("saving", "save_adapter", 1, {"checkpoint-2", "checkpoint-4"}),
        ("trainer.ForecastTrainer", "_save_checkpoint", 2, {"checkpoint-2"}),
    ],
    ids=["adapter", "checkpoint"],
)
def test_a_disk_that_gets_full(tiny, place, name, call, checkpoints):
    """No half of an adapter or a checkpoint stays; with space the training ends well."""
    (tiny / "full.py").write_text(FULL.format(place=place, name=name, call=call))
    out = tiny / "outputs" / f"full{call}"
    ended = command(tiny, "full.py", *FLAGS.split(), out)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr[-2000:]
    assert "could not be written" in ended.stderr.strip().splitlines()[-1]
    assert {path.name for path in out.glob("checkpoint-*")} == checkpoints
    assert not (out / "adapter_model.safetensors").exists() and not (out / ".adapter").exists()
    assert json.loads((out / "manifest.json").read_text())["result"] is None
    ended = command(tiny, "-m sft.train", *FLAGS.split(), out)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert (out / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_disk_that_gets_full_under_two_processes(tiny, rank):
    """One line, of the process that has met it, is last; the other one has nothing to tell."""
    code = FULL.format(place="trainer.ForecastTrainer", name="_save_checkpoint", call=1)
    code = code.replace("if len", f"if os.environ['RANK'] == '{rank}' and len").replace(
        "(50_000,", "(100,"
    )
    (tiny / "full_of_two.py").write_text(f"import os\n{code}")
    out = tiny / "outputs" / f"full-of-two-{rank}"
    flags = [*FLAGS.split(), out, "--ddp_backend", "gloo"]
    ended = command(tiny, f"{ACCELERATE} full_of_two.py", *flags)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr[-2000:]
    (line,) = [line for line in ended.stderr.splitlines() if "sft.train: " in line]
    assert f"{out}/checkpoint-2 could not be written" in line
    assert ended.stderr.rstrip().endswith(line)
