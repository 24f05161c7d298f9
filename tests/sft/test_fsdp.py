"""Two processes share the model out (FSDP 2): over gloo, see tests.support.gloo_as_gpus."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from sft.training.arguments import parse
from sft.training.launch import check_can_be_sharded, check_sharding
from sft.training.trainer import build_trainer
from tests.sft.test_two_processes import stopped_after, wait_for_steps
from tests.support.tiny import FP32, ROOT
from weekahead.models.loading import NF4, Base, load_base
from weekahead.models.precision import Precision
from weekahead.schema.file_names import MANIFEST

CONFIG = ROOT / "accelerate_configs/fsdp_qlora.yaml"
STEPS = 4
FLAGS = (
    "--config recipe.yaml --dataset data/datasets/m --save_steps 1 --save_total_limit 9 "
    f"--max_steps {STEPS} --eval_strategy steps --eval_steps 1 --logging_steps 1 --seed 3 "
    "--per_device_train_batch_size 1 --lora_dropout 0 --report_to none --disable_tqdm true"
)


def start(folder, out, *more, config=CONFIG, mode="fp32", processes=2):
    """Begin `accelerate launch` with one of its configs, as `make train` does."""
    env = {**os.environ, "HOME": str(folder / "home"), "WANDB_MODE": "offline", "MODE": mode}
    env |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    words = f"-m weekahead.launch --config_file {config} --num_processes {processes}"
    words += f" --main_process_port 0 -m tests.support.gloo_as_gpus {FLAGS} --output_dir {out}"
    words += f" --gradient_accumulation_steps {4 // processes}"
    return subprocess.Popen(
        [sys.executable, *words.split(), *more],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def trained(folder, out, *more, **options):
    process = start(folder, out, *more, **options)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-3000:]
    return out


@pytest.fixture(scope="module")
def whole(tiny):
    """A run with FSDP that nothing interrupts."""
    return trained(tiny, tiny / "outputs/fsdp")


@pytest.fixture(scope="module")
def alone(tiny):
    """The same run in one process, with the whole model."""
    cpu = ROOT / "accelerate_configs/cpu.yaml"
    return trained(tiny, tiny / "outputs/fsdp-alone", config=cpu, processes=1)


def weights(run):
    return load_file(run / "adapter_model.safetensors")


def furthest(one, other):
    """The largest difference between the weights of two adapters."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys() and len(first) == 2 * 7 * 2
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
def test_the_model_is_shared_out_and_the_adapter_whole(whole, alone):
    """Each process holds half of base and adapter; the adapter is that of one process.

    fp32 sums in another order are all the difference: the norm by which gradients are clipped is
    made of two halves.
    """
    shares = [json.loads((whole / f"shares-{rank}.json").read_text()) for rank in (0, 1)]
    for kind in ("base", "adapter"):
        total, held = shares[0][kind]
        assert held == total / 2 and shares[1][kind] == [total, total - held]
    assert furthest(whole, alone) < 1e-5
    settings = json.loads((whole / MANIFEST).read_text())["settings"]
    assert settings["sharding"] == "fsdp" and settings["gen_rows"] == 0
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (whole / name).read_text() == (alone / name).read_text()


@pytest.mark.slow
def test_a_base_states_nothing_of_how_it_was_shared_out(whole, alone):
    """The 4-bit values are the same, so the adapter loads wherever one of one process does."""
    facts = [json.loads((run / MANIFEST).read_text()) for run in (whole, alone)]
    assert facts[0]["base"] == facts[1]["base"]
    used = [manifest["result"]["used"] for manifest in facts]
    assert used[0] == {**used[1], "processes": 2}


@pytest.mark.slow
def test_fsdp_goes_on_after_a_signal(tiny, whole):
    """Bit for bit; the checkpoint has the files of any other, each of them whole."""
    out = tiny / "outputs/fsdp-stopped"
    process = start(tiny, out)
    wait_for_steps(process, out, 2)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143, error[-3000:]
    assert not (out / "adapter_model.safetensors").exists()
    trained(tiny, out)
    result = json.loads((out / MANIFEST).read_text())["result"]
    assert 0 < result["resumed_from_step"] < STEPS
    assert furthest(out, whole) == 0


@pytest.mark.slow
def test_one_process_goes_on_from_fsdp_and_back(tiny, whole, alone):
    """The checkpoint of either is that of the other: files, names and shapes."""
    cpu = {"config": ROOT / "accelerate_configs/cpu.yaml", "processes": 1}
    for run, then in ((whole, cpu), (alone, {})):
        copy = tiny / f"outputs/{run.name}-copy"
        shutil.copytree(run, copy)
        stopped_after(copy, 2)
        trained(tiny, copy, **then)
        assert json.loads((copy / MANIFEST).read_text())["result"]["resumed_from_step"] == 2
        assert furthest(copy, whole) < 1e-5
    states = [torch.load(run / "checkpoint-2/optimizer.pt")["state"] for run in (whole, alone)]
    assert len(states[0]) == len(states[1]) == 2 * 7 * 2
    for index, values in states[0].items():
        for name, value in values.items():
            torch.testing.assert_close(value, states[1][index][name], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_fsdp_keeps_the_best_step(tiny):
    """With so high a rate the last step is worse; the weights of the one before are loaded."""
    out = trained(
        tiny,
        tiny / "outputs/fsdp-best",
        *("--load_best_model_at_end", "true", "--learning_rate", "3", "--max_steps", "2"),
        *("--lr_scheduler_type", "constant", "--warmup_steps", "0"),
    )
    result = json.loads((out / MANIFEST).read_text())["result"]
    assert result["kept_step"] == 1
    kept, last = weights(out / "checkpoint-1"), weights(out / "checkpoint-2")
    for name, weight in weights(out).items():
        assert torch.equal(weight, kept[name])
    assert any(not torch.equal(last[name], kept[name]) for name in kept)


@pytest.mark.slow
def test_checkpointing_and_dropout_go_together(tiny, tmp_path):
    """FSDP's own checkpointing would draw other dropout; asked for, the model's own is used."""
    config = yaml.safe_load(CONFIG.read_text())
    config["fsdp_config"]["fsdp_activation_checkpointing"] = True
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(config))
    flags = ["--lora_dropout", "0.3", "--activation_checkpointing"]
    plain = trained(tiny, tmp_path / "plain", *flags, "false", mode="bf16")
    asked = trained(tiny, tmp_path / "asked", *flags, "false", mode="bf16", config=own)
    used = json.loads((asked / MANIFEST).read_text())["result"]["used"]
    assert used["activation_checkpointing"] is True
    assert furthest(plain, asked) == 0


@pytest.fixture
def fsdp(monkeypatch):
    """The variables in which accelerate passes fsdp_qlora.yaml on."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    for name, value in yaml.safe_load(CONFIG.read_text())["fsdp_config"].items():
        monkeypatch.setenv(name.upper(), str(value).lower())
    return monkeypatch


def parsed(tiny, tmp_path, *flags, precision=FP32):
    recipe = ["--config", str(tiny / "recipe.yaml"), "--output_dir", str(tmp_path / "out")]
    return parse([*recipe, *flags], precision)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--optim", "paged_adamw_8bit"), "--optim paged_adamw_8bit does not work with FSDP"),
        (("--torch_compile", "true"), "--torch_compile True does not work with FSDP"),
        (("--lora_modules_to_save", "lm_head"), "--lora_modules_to_save .* does not work"),
        (("--gen_rows", "4"), "--gen_rows 4 with FSDP would gather every layer"),
        (("--bnb_4bit_quant_storage", "float16"), "--bnb_4bit_quant_storage is 'float16'"),
    ],
)
def test_what_does_not_work_with_fsdp_is_refused(tiny, tmp_path, fsdp, flags, told):
    with pytest.raises(ValueError, match=told):
        parsed(tiny, tmp_path, *flags)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("FSDP_VERSION", "1", "fsdp_version 1; expected 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params true"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "true", "fsdp_cpu_ram_efficient_loading true"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "asks for DeepSpeed"),
    ],
)
def test_a_config_of_another_kind_is_refused(tiny, tmp_path, fsdp, variable, value, told):
    fsdp.setenv(variable, value)
    with pytest.raises(ValueError, match=f"the accelerate config .*{told}"):
        parsed(tiny, tmp_path)


def test_fsdp_does_not_compute_in_fp16(tiny, tmp_path, fsdp):
    old = Precision("fp16", "cuda", "a T4")
    with pytest.raises(ValueError, match=r"computes in fp16 \(a T4\), .*ddp.yaml"):
        parsed(tiny, tmp_path, precision=old)


def test_fsdp_needs_several_gpus(tiny, tmp_path, fsdp):
    training = parsed(tiny, tmp_path, "--bnb_4bit_quant_storage", "float32").training
    with pytest.raises(ValueError, match="FSDP, which needs several GPUs"):
        check_sharding(training)
    with pytest.raises(ValueError, match="name the base in 16 bits"):
        check_can_be_sharded("unsloth/x-bnb-4bit", stored_in_4_bits=True)
    fsdp.setenv("ACCELERATE_USE_FSDP", "false")
    check_sharding(training)
    check_can_be_sharded("unsloth/x-bnb-4bit", stored_in_4_bits=True)


def test_fsdp_computes_the_plain_loss_alone(tiny, tmp_path, fsdp):
    _, training, model = parsed(tiny, tmp_path, "--loss_type", "dft")
    base = Base(str(tiny / "base"), "smollm2", "float32", quantization=NF4)
    with pytest.raises(ValueError, match="with FSDP the loss is the plain one"):
        build_trainer(base, None, None, training, model, [])


def test_packing_into_numbers_keeps_the_4_bit_values(tiny):
    """What FSDP shares out are floating-point numbers; the bytes in them are the same."""
    base = Base(str(tiny / "base"), "smollm2", "float32", quantization=NF4)
    usual, packed = load_base(base), load_base(base, storage="float32")
    stored = dict(packed.named_parameters())
    for name, weight in usual.named_parameters():
        if hasattr(weight, "quant_state"):
            assert weight.dtype == torch.uint8 and stored[name].dtype == torch.float32
            assert torch.equal(weight.view(-1), stored[name].view(-1).view(torch.uint8)), name
    assert "storage" not in json.dumps(base.manifest_fields())
