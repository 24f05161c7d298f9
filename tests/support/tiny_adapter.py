"""A small adapter folder: a random Llama base, a random LoRA adapter, and the files beside it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

BASE_ID = "user/tiny-base"
TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }} {{ m['content'] }}</s>{% endfor %}{{ '<s>' }}"
IDS = [[1, 17, 230, 5, 499, 64, 3]]


def make_base(folder: Path) -> Path:
    """A Llama of 2 layers with random weights and a byte-level tokenizer of 512 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    letters = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {letter: token_id for token_id, letter in enumerate(letters)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def make_run(folder: Path, base: Path, seed: int = 2) -> Path:
    """What a training leaves: the adapter folder, and beside it what is never to be published."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    lora = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False
    )
    get_peft_model(model, lora).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    write_json(folder / "manifest.json", manifest(folder, base))
    for name in (
        "figures/loss.png",
        "checkpoint-2/optimizer.pt",
        "wandb/run.wandb",
        ".env",
        "train_log.jsonl",
        "run_id",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x89PNG\0 " + name.encode())
    return folder


def manifest(folder: Path, base: Path) -> dict[str, Any]:
    """A training manifest that holds paths of this machine, as a real one does."""
    return {
        "kind": "train",
        "created": "2026-01-05T10:00:00+00:00",
        "command": [
            "train.py",
            "--config",
            "recipes/tiny.yaml",
            "--output_dir",
            str(folder),
            f"--dataset={folder.parent}/data/rows.jsonl",
        ],
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "packages": {"torch": "2.13.0", "wandb": None},
        "run": folder.name,
        "run_id": "tiny-1",
        "base": {
            "name": str(base),
            "hub_id": BASE_ID,
            "revision": None,
            "turn_format": "llama",
            "dtype": "bfloat16",
            "quantization": {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
            },
        },
        "precision": {"mode": "bf16", "device": "cpu", "reason": "no GPU"},
        "dataset": {
            "source": str(folder.parent / "data" / "rows.jsonl"),
            "sha256": "ab" * 32,
            "train_rows": 40,
            "validation_rows": 8,
            "max_tokens": 310,
        },
        "synthetic": True,
        "result": {"steps": 4, "train_loss": 1.5, "eval_loss": None, "peak_memory_bytes": 1024},
        "settings": {
            "learning_rate": 5e-05,
            "lora_target_modules": ["q_proj", "down_proj"],
            "model": str(base),
        },
    }


def metrics() -> dict[str, Any]:
    """A metrics.json with nulls in it, as one of few weeks has."""
    rouge = {"rouge1": 0.421, "rouge2": 0.15, "rougeL": 0.258}
    return {
        "n": 300,
        "n_no_truth": 4,
        "rouge_n": {"pros": 297, "cons": 297, "anal": 296},
        "bin12_n": 296,
        "stop_rate_n": 300,
        "inference_seconds_n": 0,
        "valid_strict": 290,
        "valid_lenient": 298,
        "bin_acc": 0.5167,
        "bin_acc_ci95": [0.4312, 0.6021],
        "bin12_acc": 0.11,
        "mse": 8.25,
        "mse_uncapped": 8.5,
        "mse_n": 298,
        "pros_rouge_scores": rouge,
        "cons_rouge_scores": rouge,
        "anal_rouge_scores": rouge,
        "inference_seconds": None,
        "stop_rate": 1.0,
        "weeks": 10,
        "baselines": {
            "always_down": {"bin_acc": 0.5433, "mse": 7.9},
            "last_week": None,
            "zero_move": {"bin_acc": 0.0, "mse": 7.5},
        },
        "mse_versus_zero_move": {
            "difference": 0.7,
            "ci95": [0.1, 1.3],
            "p": 0.02,
            "verdict": "worse",
        },
        "versus": {
            "always_down": {
                "difference": -0.0266,
                "ci95": [-0.1, 0.05],
                "p": 0.44,
                "verdict": "not shown",
                "detectable_effect": 0.12,
            },
            "last_week": None,
        },
    }


@cache
def local_logits(folder: Path, base: Path) -> Any:
    """Logits of the adapter on its base as trained: NF4, dequantized.

    The Python code of the model card must give the same.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=quantization, dtype=torch.bfloat16
    )
    adapted = PeftModel.from_pretrained(model.dequantize(), str(folder)).eval()
    with torch.no_grad():
        return adapted(torch.tensor(IDS)).logits


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
