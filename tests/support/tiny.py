"""A base of two layers with the embedded model's real tokenizer, and a dataset of the fictional market."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from data_pipeline.synthetic.__main__ import write_market
from data_pipeline.synthetic.world import tell
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with `base/`, `recipe.yaml` and `data/datasets/m`; it is the working folder of commands."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(ensure_embedded(ROOT / DEFAULT_OUT))
    torch.manual_seed(0)
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **shape, **ids)
    )
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    recipe = yaml.safe_load((ROOT / "recipes/smollm2.yaml").read_text())
    # Dropout makes the random state part of what a resumed run has to restore.
    recipe |= {
        "model_name_or_path": str(folder / "base"),
        "lora_r": 4,
        "lora_dropout": 0.05,
        "max_length": 400,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_market(tell(0, 0.9), folder / "data", "m", 0.9, 0)
    return folder


def command(folder, module, *flags, wait=True):
    """Run (or start) a command of the project as a user does, with a home of its own and W&B offline."""
    import os

    env = {
        **os.environ,
        "HOME": str(folder / "home"),
        "WANDB_MODE": "offline",
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, *module.split(), *map(str, flags)]
    if not wait:
        return subprocess.Popen(
            words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


TRAIN = (
    f"-m accelerate.commands.launch --config_file {ROOT}/accelerate_configs/cpu.yaml -m sft.train"
)
