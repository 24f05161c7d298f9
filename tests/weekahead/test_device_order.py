"""GPU=0 is the same card for CUDA, NVML and nvidia-smi."""

import os
import subprocess
import sys

import pytest

PRINT = "import weekahead, os; print(os.environ['CUDA_DEVICE_ORDER'])"


@pytest.mark.parametrize(
    ("given", "used"),
    [({}, "PCI_BUS_ID"), ({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, "FASTEST_FIRST")],
)
def test_cuda_counts_gpus_as_nvml_does_unless_told_otherwise(given, used):
    env = {name: value for name, value in os.environ.items() if name != "CUDA_DEVICE_ORDER"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env=env | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == used
