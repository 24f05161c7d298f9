"""The choice of a number format, on machines simulated by what torch and the kernel would say."""

import pytest

from weekahead.models import precision
from weekahead.models.precision import Precision, choose_precision

T4, A100, H200 = ("Tesla T4", (7, 5)), ("NVIDIA A100", (8, 0)), ("NVIDIA H200", (9, 0))
XEON = {"fpu", "sse2", "avx512f", "avx512_bf16", "amx_tile"}
DESKTOP = {"fpu", "sse2", "avx2", "avx512f"}


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this machine look like one with the given GPUs and CPU flags."""
    import torch

    def become(*gpus, flags=frozenset()):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: gpus[i][0])
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: gpus[i][1])
        # What a T4 really answers: bf16 can be emulated there. It must not decide.
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        monkeypatch.setattr(precision, "_cpu_flags", lambda: set(flags))

    return become


@pytest.mark.parametrize(
    ("gpus", "flags", "mode", "device", "reason"),
    [
        ([T4], XEON, "fp16", "cuda", "Tesla T4 has compute capability 7.5"),
        ([A100], DESKTOP, "bf16", "cuda", "NVIDIA A100 has compute capability 8.0"),
        ([H200], DESKTOP, "bf16", "cuda", "9.0"),
        ([H200, T4, A100], XEON, "fp16", "cuda", "Tesla T4"),
        ([H200, A100], XEON, "bf16", "cuda", "NVIDIA A100"),
        ([], XEON, "bf16", "cpu", "CPU with bf16 products"),
        ([], {"asimd", "bf16"}, "bf16", "cpu", "with bf16"),
        ([], DESKTOP, "fp32", "cpu", "CPU without bf16 products"),
        ([], set(), "fp32", "cpu", "without bf16"),
    ],
)
def test_the_weakest_device_decides_and_the_reason_says_which(
    machine, gpus, flags, mode, device, reason
):
    machine(*gpus, flags=flags)
    chosen = choose_precision()
    assert (chosen.mode, chosen.device) == (mode, device) and reason in chosen.reason


def test_an_accelerate_config_for_the_cpu_holds_with_a_gpu(machine, monkeypatch):
    machine(T4, flags=DESKTOP)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    chosen = choose_precision()
    assert (chosen.mode, chosen.device) == ("fp32", "cpu")
    assert "the accelerate config says CPU" in chosen.reason


@pytest.mark.parametrize(
    ("mode", "device", "dtype", "flags"),
    [
        ("bf16", "cuda", "bfloat16", {"bf16": True, "fp16": False, "use_cpu": False}),
        ("fp16", "cuda", "float16", {"bf16": False, "fp16": True, "use_cpu": False}),
        ("fp32", "cpu", "float32", {"bf16": False, "fp16": False, "use_cpu": True}),
        ("bf16", "cpu", "bfloat16", {"bf16": True, "fp16": False, "use_cpu": True}),
    ],
)
def test_the_trainer_is_told_one_format_and_never_two(mode, device, dtype, flags):
    chosen = Precision(mode, device, "for the test")
    assert chosen.dtype == dtype and chosen.trainer_flags() == flags


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16\nbogomips\t: 5000\n", {"fpu", "avx512_bf16"}),
        ("processor\t: 0\nFeatures\t: asimd bf16\n", {"asimd", "bf16"}),
        ("model name\t: bf16 is only part of a name here\n", set()),
    ],
)
def test_flags_are_read_where_the_kernel_lists_them(monkeypatch, tmp_path, text, flags):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
    found = precision._cpu_flags()
    assert flags <= found and ("bf16" in found) == ("bf16" in flags)


def test_a_system_without_such_a_list_has_no_flags(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "absent")
    assert precision._cpu_flags() == set()


def test_what_was_chosen_here_is_what_trl_accepts_here(tmp_path):
    """SFTConfig turns bf16 on by itself and raises if the machine has none."""
    from trl import SFTConfig

    here = choose_precision()
    config = SFTConfig(output_dir=str(tmp_path), report_to="none", **here.trainer_flags())
    assert (config.bf16, config.fp16, config.use_cpu) == tuple(here.trainer_flags().values())
