"""Two processes train with DeepSpeed: over gloo, see tests.support.gloo_as_gpus.

What trains needs the optional package; what is refused does not.
"""

import importlib.util
import json
import os
import shutil
import signal

import pytest
import torch

from sft.training.launch import check_can_be_sharded, sharding
from sft.training.zero import for_groups
from tests.sft.test_fsdp import furthest, parsed, start, trained, weights
from tests.sft.test_two_processes import stopped_after, wait_for_steps
from tests.support.tiny import ROOT, command
from weekahead.deepspeed_package import DEEPSPEED, INSTALL, check_deepspeed_installed
from weekahead.models.precision import Precision
from weekahead.schema.file_names import MANIFEST

STEPS = 4
CONFIGS = {stage: ROOT / f"accelerate_configs/deepspeed_zero{stage}.yaml" for stage in (2, 3)}
CPU = {"config": ROOT / "accelerate_configs/cpu.yaml", "processes": 1}
BFLOAT16 = 2**-8
"""The largest relative error of one rounding to bf16."""


def is_missing():
    return importlib.util.find_spec("deepspeed") is None


trains = [
    pytest.mark.slow,
    pytest.mark.skipif(is_missing(), reason=f"{DEEPSPEED} is not installed"),
]


def training(test):
    for mark in trains:
        test = mark(test)
    return test


@pytest.fixture(scope="module", params=[2, 3], ids=["zero2", "zero3"])
def stage(request):
    return request.param


@pytest.fixture(scope="module")
def alone(tiny):
    """The run in one process, with the whole model."""
    return trained(tiny, tiny / "outputs/zero-alone", **CPU)


@pytest.fixture(scope="module")
def whole(tiny, stage):
    """A run with DeepSpeed that nothing interrupts."""
    return trained(tiny, tiny / f"outputs/zero{stage}", config=CONFIGS[stage])


@training
def test_the_adapter_is_that_of_one_process(whole, alone, stage):
    """Clipping included: every gradient here is longer than max_grad_norm.

    Stage 3 leaves each process half of base and adapter, stage 2 the whole of both. fp32 sums in
    another order are all the difference.
    """
    part = {2: 1, 3: 2}[stage]
    shares = [json.loads((whole / f"shares-{rank}.json").read_text()) for rank in (0, 1)]
    for kind in ("base", "adapter"):
        total, held = shares[0][kind]
        assert shares[1][kind] == [total, held] and held == total / part
    assert furthest(whole, alone) < 1e-5
    manifests = [json.loads((run / MANIFEST).read_text()) for run in (whole, alone)]
    assert manifests[0]["settings"]["sharding"] == f"zero{stage}"
    assert manifests[0]["base"] == manifests[1]["base"]
    used = [manifest["result"]["used"] for manifest in manifests]
    assert used[0] == {**used[1], "processes": 2}
    logs = [(run / "train_log.jsonl").read_text().splitlines() for run in (whole, alone)]
    norms = [[row.get("grad_norm") for row in map(json.loads, lines)] for lines in logs]
    norms = [[norm for norm in values if norm is not None] for values in norms]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4) and min(norms[0]) > 1
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (whole / name).read_text() == (alone / name).read_text()


@training
def test_deepspeed_goes_on_after_a_signal(tiny, whole, stage):
    """Bit for bit, as if nothing had interrupted it."""
    out = tiny / f"outputs/zero{stage}-stopped"
    process = start(tiny, out, config=CONFIGS[stage])
    wait_for_steps(process, out, 2)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143, error[-3000:]
    assert not (out / "adapter_model.safetensors").exists()
    trained(tiny, out, config=CONFIGS[stage])
    result = json.loads((out / MANIFEST).read_text())["result"]
    assert 0 < result["resumed_from_step"] < STEPS
    assert furthest(out, whole) == 0


@training
def test_one_process_goes_on_from_deepspeed_and_back(tiny, whole, alone, stage):
    """The checkpoint of either is that of the other: files, names and shapes."""
    for run, then in ((whole, CPU), (alone, {"config": CONFIGS[stage]})):
        copy = tiny / f"outputs/{run.name}-copy-{stage}"
        shutil.copytree(run, copy)
        stopped_after(copy, 2)
        trained(tiny, copy, **then)
        assert json.loads((copy / MANIFEST).read_text())["result"]["resumed_from_step"] == 2
        assert furthest(copy, whole) < 1e-5
    states = [torch.load(run / "checkpoint-2/optimizer.pt") for run in (whole, alone)]
    assert [len(group["params"]) for group in states[0]["param_groups"]] == [28, 0]
    for index, values in states[0]["state"].items():
        for name, value in values.items():
            other = states[1]["state"][index][name]
            torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-6)


@training
def test_deepspeed_keeps_the_best_step(tiny, stage):
    """With so high a rate the last step is worse; the weights of the one before are loaded."""
    out = trained(
        tiny,
        tiny / f"outputs/zero{stage}-best",
        *("--load_best_model_at_end", "true", "--learning_rate", "3", "--max_steps", "2"),
        *("--lr_scheduler_type", "constant", "--warmup_steps", "0"),
        config=CONFIGS[stage],
    )
    assert json.loads((out / MANIFEST).read_text())["result"]["kept_step"] == 1
    kept, last = weights(out / "checkpoint-1"), weights(out / "checkpoint-2")
    for name, weight in weights(out).items():
        assert torch.equal(weight, kept[name])
    assert any(not torch.equal(last[name], kept[name]) for name in kept)


@training
def test_deepspeed_computes_in_bf16_as_ddp_does(tiny, tmp_path, stage):
    """By autocast, with an adapter in fp32; DeepSpeed's own bf16 would round the adapter."""
    flags = ["--activation_checkpointing", "true"]
    ours = trained(tiny, tmp_path / "zero", *flags, mode="bf16", config=CONFIGS[stage])
    one = trained(tiny, tmp_path / "one", *flags, mode="bf16", **CPU)
    assert all(weight.dtype == torch.float32 for weight in weights(ours).values())
    largest = max(float(weight.abs().max()) for weight in weights(one).values())
    assert furthest(ours, one) < 4 * BFLOAT16 * largest
    used = [json.loads((run / MANIFEST).read_text())["result"]["used"] for run in (ours, one)]
    assert used[0]["activation_checkpointing"] is True
    assert used[0]["adapter_dtype"] == used[1]["adapter_dtype"] == "float32"


def test_a_schedule_has_as_many_rates_as_groups():
    stored = {"base_lrs": [1.0], "last_epoch": 3, "lr_lambdas": [None], "_last_lr": [0.5]}
    two = for_groups(stored, 2)
    assert two["base_lrs"] == [1.0, 1.0] and two["last_epoch"] == 3
    assert for_groups(two, 1) == stored


@pytest.fixture(params=[2, 3])
def zero(request, monkeypatch):
    """What accelerate itself makes of deepspeed_zero*.yaml for the processes that it starts."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    words = ["--config_file", str(CONFIGS[request.param]), "--main_process_port", "0", "x"]
    options, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    options.deepspeed_fields_from_accelerate_config = ""
    for name, value in prepare_deepspeed_cmd_env(options)[1].items():
        if name.startswith("ACCELERATE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr("sft.training.launch.check_deepspeed_installed", lambda asked_by: None)
    return monkeypatch


def test_the_config_leaves_recipe_and_hardware_to_decide(zero):
    """Stage alone is accelerate's; no accumulation, no clipping, no precision."""
    assert sharding() in ("zero2", "zero3") and os.environ["ACCELERATE_MIXED_PRECISION"] == "no"
    assert "ACCELERATE_GRADIENT_CLIPPING" not in os.environ
    assert "ACCELERATE_GRADIENT_ACCUMULATION_STEPS" not in os.environ


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--optim", "paged_adamw_8bit"), "--optim paged_adamw_8bit does not work with DeepSpeed"),
        (("--optim", "sgd"), "--optim sgd does not work with DeepSpeed"),
        (("--torch_compile", "true"), "--torch_compile True does not work with DeepSpeed"),
    ],
)
def test_what_does_not_work_with_deepspeed_is_refused(tiny, tmp_path, zero, flags, told):
    with pytest.raises(ValueError, match=told):
        parsed(tiny, tmp_path, *flags)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("DEEPSPEED_ZERO_STAGE", "1", "zero_stage 1; expected 2 or 3"),
        ("DEEPSPEED_OFFLOAD_PARAM_DEVICE", "cpu", "offload_param_device cpu"),
        ("DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "nvme", "offload_optimizer_device nvme"),
        ("DEEPSPEED_CONFIG_FILE", "ds.json", "names a deepspeed_config_file"),
        ("GRADIENT_CLIPPING", "0.5", "gradient_clipping 0.5, and --max_grad_norm is 1.0"),
        ("GRADIENT_ACCUMULATION_STEPS", "16", "16, and --gradient_accumulation_steps is 8"),
        ("MIXED_PRECISION", "fp16", "mixed_precision fp16"),
    ],
)
def test_a_deepspeed_config_of_another_kind_is_refused(tiny, tmp_path, zero, variable, value, told):
    zero.setenv(f"ACCELERATE_{variable}", value)
    with pytest.raises(ValueError, match=f"the accelerate config .*{told}"):
        parsed(tiny, tmp_path)


def test_deepspeed_does_not_compute_in_fp16(tiny, tmp_path, zero):
    old = Precision("fp16", "cuda", "a T4")
    with pytest.raises(ValueError, match=r"DeepSpeed.* computes in fp16 \(a T4\), .*ddp.yaml"):
        parsed(tiny, tmp_path, precision=old)


def test_stage_3_alone_shares_the_model_out(tiny, tmp_path, zero):
    for stage in ("2", "3"):
        zero.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)
        if stage == "2":
            check_can_be_sharded("unsloth/x-bnb-4bit", stored_in_4_bits=True)
        else:
            with pytest.raises(ValueError, match="which DeepSpeed does not share out"):
                check_can_be_sharded("unsloth/x-bnb-4bit", stored_in_4_bits=True)
            with pytest.raises(ValueError, match="--gen_rows 4 with DeepSpeed would gather"):
                parsed(tiny, tmp_path, "--gen_rows", "4")


@pytest.mark.skipif(not is_missing(), reason="deepspeed is installed")
def test_a_missing_deepspeed_is_named_with_the_command():
    with pytest.raises(ValueError) as error:
        check_deepspeed_installed("ACCEL=deepspeed_zero2")
    assert str(error.value) == (
        f"ACCEL=deepspeed_zero2 asks for DeepSpeed, which is not installed; install it: {INSTALL}"
    )
    for words in (
        f"-m weekahead.launch --config_file {CONFIGS[2]} -m sft.train",
        "-m weekahead.preflight train --accel deepspeed_zero2 --model smollm2 --run r",
    ):
        ended = command(ROOT, words)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
        assert INSTALL in ended.stderr
