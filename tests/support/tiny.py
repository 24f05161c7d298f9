"""How tests run a command of the project as a user does, on the base of the fixture `tiny`."""

import os
import subprocess
import sys
from pathlib import Path

from weekahead.models.precision import Precision

ROOT = Path(__file__).parents[2]
FP32 = Precision("fp32", "cpu", "for the test")


def command(folder, module, *flags, wait=True):
    """Run (or start) a command as a user does, with a home of its own and W&B offline."""
    env = {
        **os.environ,
        "HOME": str(folder / "home"),
        "WANDB_MODE": "offline",
        "PYTHONPATH": str(ROOT),
    }
    arguments = [sys.executable, *module.split(), *map(str, flags)]
    if not wait:
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    return subprocess.run(
        arguments, cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )


TRAIN = (
    f"-m accelerate.commands.launch --config_file {ROOT}/accelerate_configs/cpu.yaml -m sft.train"
)
