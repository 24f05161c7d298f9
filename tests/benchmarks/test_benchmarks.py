"""The benchmarks: their arithmetic by hand, and the commands themselves on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig

from benchmarks.flops import flops_per_row, peak_of
from benchmarks.shapes import SHAPES, write_checkpoint

ROOT = Path(__file__).parents[2]


def test_arithmetic_of_a_row_by_hand():
    # two layers of width 64: q and o 64x64, k and v 64x32, three of 64x128; a head of 64 x 49,152
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    head = 64 * 49_152
    config = LlamaConfig(**SHAPES["tiny"], tie_word_embeddings=False)
    found = flops_per_row(config, adapter_parameters=1000, length=100)
    assert found == 4 * linear * 100 + 4 * head * 20 + 6 * 1000 * 100 + 6 * 2 * 64 * 100**2


def test_the_shapes_called_8b_have_as_many_weights():
    import torch
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPES["llama8b"], tie_word_embeddings=False))
    # What the model card of Llama-3.1-8B calls 8.03B.
    assert model.num_parameters() == 8_030_261_248


@pytest.mark.parametrize(
    ("card", "mode", "peak"),
    [
        ("Tesla T4", "fp16", 65.0),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312.0),
        ("NVIDIA H200", "bf16", 989.0),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.0),
        ("NVIDIA H100 PCIe", "bf16", None),
        ("NVIDIA T400", "fp16", None),
        ("NVIDIA A100-SXM4-80GB", "fp32", None),
        (None, "bf16", None),
    ],
)
def test_a_peak_is_known_or_left_out(card, mode, peak):
    assert peak_of(card, mode) == peak


def test_random_weights_load_as_a_normal_checkpoint(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = write_checkpoint(SHAPES["tiny"], tmp_path / "model", "float32")
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    weight = model.get_input_embeddings().weight
    assert abs(float(weight.detach().std()) - 0.02) < 0.001
    assert float(model.model.norm.weight.detach().min()) == 1.0


def run(module, *flags):
    words = [sys.executable, "-m", module, "--config", "recipes/llama.yaml", "--shapes", "tiny"]
    return subprocess.run([*words, *flags], cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_the_training_is_measured_with_the_recipe_s_settings(tmp_path):
    results = tmp_path / "train.jsonl"
    varied = "per_device_train_batch_size=2,gradient_accumulation_steps=2,lora_r=4,max_length=300"
    flags = ["--length", "256", "--steps", "2", "--results", str(results)]
    done = run("benchmarks.train", *flags, "--vary", varied, "seed=42")
    assert done.returncode == 0, done.stderr
    row, other, again = map(json.loads, results.read_text().splitlines())
    assert other["vary"] == varied and other["rows_a_step"] == 4 and other["length"] == 300
    # The base is as before: a second adapter has as many weights as the first one.
    assert again["trained_parameters"] == row["trained_parameters"]
    assert other["trained_parameters"] * 2 == row["trained_parameters"]
    assert row["recipe"] == "llama" and row["shapes"] == "tiny"
    assert row["rows_a_step"] == 16 and len(row["step_seconds"]) == 2
    step = sum(row["step_seconds"]) / 2
    assert row["tokens_per_second"] == pytest.approx(16 * 256 / step)
    # r 8 on seven projections of two layers: r (in + out) each
    assert row["trained_parameters"] == 2 * 8 * (2 * 128 + 2 * 96 + 3 * 192)
    assert row["peak_rss_bytes"] > 1e8
    if row["machine"]["card"] is None:
        assert row["mfu"] is None and row["peak_gpu_memory_bytes"] is None


@pytest.mark.slow
def test_generation_is_measured_with_padded_prompts_beside(tmp_path):
    results = tmp_path / "generate.jsonl"
    flags = ["--rows", "3", "--length", "60", "--max_new_tokens", "3", "--batch_sizes", "2"]
    flags += ["--upstream_rows", "2"]
    done = run("benchmarks.generate", *flags, "--padded", "--results", str(results))
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, results.read_text().splitlines())
    upstream, alone, padded = row["ways"]
    assert [way["new_tokens"] for way in row["ways"]] == [6, 9, 9] and row["full"]
    assert [way["rows"] for way in row["ways"]] == [2, 3, 3]
    assert upstream["batch_size"] == 1 and alone["batch_size"] == padded["batch_size"] == 2
    assert padded["way"] == f"{alone['way']}, padded"
    assert "batch 2: prompts read alone are" in done.stdout


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--steps", "0"], "--steps is 0"),
        (["--length", "3"], "3 tokens"),
        (["--vary", "lora_r"], "expected field=value"),
        (["--vary", "lora_rr=4"], "lora_rr"),
        (["--vary", "bnb_4bit_quant_type=fp4"], "--vary has another base"),
    ],
)
def test_a_setting_that_cannot_be_measured_is_named(flags, named, monkeypatch, capsys):
    from benchmarks.train import main

    monkeypatch.chdir(ROOT)
    assert main(["--config", "recipes/llama.yaml", "--shapes", "tiny", *flags]) == 2
    assert named in capsys.readouterr().err


def test_the_table_of_a_gpu_day_holds_every_setting(tmp_path, capsys):
    from benchmarks.gpu_table import main

    lines = (ROOT / "benchmarks/results/h200_gpu_day.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(line for line in lines if '"vary"' in line))
    (tmp_path / "generate.jsonl").write_text("".join(line for line in lines if '"ways"' in line))
    assert main([str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "| llama | as it stands | 1,951 | 2,652 | 8.0% | 7.0 | NVIDIA H200 |" in table
    assert (
        "| llama_t4 like t4 | as it stands | 3,130 | 5,690 | 17.8% | 7.1 | NVIDIA H200 |" in table
    )
    assert "| 22 | here (NF4, adapter unmerged) | 64 | 64 | 389 | 0.33 | NVIDIA H200 |" in table
    assert len(table.splitlines()) == 5 + 14 + 4
    assert main([str(tmp_path / "none")]) == 2
