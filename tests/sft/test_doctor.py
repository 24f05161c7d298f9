"""`python -m sft.doctor` as a user calls it."""

import dataclasses
import os
import re
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


def test_a_gpu_that_torch_cannot_see_is_exit_1(tmp_path, nvml_stub):
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    process = doctor(tmp_path, LD_LIBRARY_PATH=str(nvml_stub))
    assert process.returncode == 1
    assert "0: Stub T4, 15.0 GiB, driver 999.73" in process.stdout
    assert process.stderr.startswith("sft.doctor: an NVIDIA GPU is present but torch sees none")
    assert "Remedy" in process.stderr


def test_each_recipe_has_its_verdict(monkeypatch):
    """By the card that is here, as plan estimates it; without one, by the size of the base."""
    from sft.doctor import recipe_verdict
    from weekahead.hardware.cards import card_named

    llama, small = ROOT / "recipes/llama.yaml", ROOT / "recipes/smollm2.yaml"
    monkeypatch.setattr("sft.doctor.gpu_memory", list)
    assert recipe_verdict(llama, None) == "no: 8 billion weights need a GPU"
    assert recipe_verdict(small, None) == "yes"
    monkeypatch.setattr("weekahead.machine.gpu_memory", lambda: [24 << 30])
    assert re.match(
        r"yes, 7\.\d of 22\.4 GiB, a download of 15 GiB", recipe_verdict(llama, card_named("l4"))
    )
    tight = dataclasses.replace(card_named("t4"), memory_bytes=9e9)
    assert recipe_verdict(llama, tight).startswith("hardly: 7.9 of 8.4 GiB; take llama_t4")
    small = dataclasses.replace(card_named("t4"), memory_bytes=7e9)
    assert recipe_verdict(llama, small) == "no: 7.9 of 6.5 GiB", "llama_t4 does not fit either"


def test_torch_must_have_code_for_the_card(monkeypatch):
    import torch

    from sft.doctor import _is_built_for

    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90", "sm_120a"])
    fits = [(7, 5), (8, 0), (8, 9), (9, 0), (12, 0)]
    assert all(_is_built_for(*capability) for capability in fits)
    assert not any(_is_built_for(*capability) for capability in [(6, 0), (7, 0), (10, 0)])
