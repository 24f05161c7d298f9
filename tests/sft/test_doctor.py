"""`python -m sft.doctor` as a user calls it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sft.doctor import key_variables

ROOT = Path(__file__).resolve().parents[2]
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing answers there


def doctor(folder, **variables):
    """The doctor in an empty folder with an empty home, and services that do not answer."""
    services = tuple(name.removesuffix("API_KEY") for name in key_variables())
    removed = (*services, "HF_", "HUGGING", "CUDA_VISIBLE", "LD_LIBRARY")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    local = {
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": CLOSED,
        "WANDB_BASE_URL": CLOSED,
    }
    command = [sys.executable, "-m", "sft.doctor"]
    return subprocess.run(
        command,
        cwd=folder,
        env=inherited | local | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_was_found_is_printed_and_keys_are_never_shown(tmp_path):
    secret = "s3cret" * 8
    (tmp_path / ".env").write_text(f"FINNHUB_API_KEY={secret}\n")
    process = doctor(tmp_path, HF_TOKEN=secret, WANDB_API_KEY=secret, CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 0, process.stderr
    assert re.search(r"^torch +\d+\.\d+", process.stdout, re.M)
    assert re.search(r"^GPU +none \(.+\)$", process.stdout, re.M)
    assert re.search(r"^precision +(bf16|fp32) on cpu: .+", process.stdout, re.M)
    assert re.search(r"^disk here +[\d.]+ GiB free$", process.stdout, re.M)
    for name in ("HF_TOKEN", "WANDB_API_KEY", "FINNHUB_API_KEY"):
        assert re.search(rf"^{name} +set$", process.stdout, re.M)
    assert re.search(r"^OPENAI_API_KEY +not set$", process.stdout, re.M)
    assert re.search(rf"^Hub +{CLOSED}: not reachable", process.stdout, re.M)
    assert re.search(rf"^W&B +{CLOSED}: not reachable", process.stdout, re.M)
    assert re.search(r"^W&B key +unusable: .+WANDB_MODE=offline", process.stdout, re.M)
    assert "s3cret" not in process.stdout + process.stderr


def test_a_gpu_that_torch_cannot_see_is_exit_1(tmp_path):
    import torch

    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the stub driver with")
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    source = Path(__file__).parents[1] / "support" / "servers" / "nvml_stub.c"
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    process = doctor(tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    assert process.returncode == 1
    assert "0: Stub T4, 15.0 GiB, driver 999.73" in process.stdout
    assert process.stderr.startswith("sft.doctor: an NVIDIA GPU is present but torch sees none")
    assert "Remedy" in process.stderr
