"""Fixtures for all tests."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

from data_pipeline.dataset.load import load_dataset
from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market
from tests.support.tiny import FP32, ROOT
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded
from weekahead.models.loading import base_from_recipe, load_base, load_tokenizer

# Inputs per property test, the same in every run: few in the quick suite, more in the whole one.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=300)


def pytest_configure(config: pytest.Config) -> None:
    quick = "not slow" in config.getoption("markexpr")
    settings.load_profile("quick" if quick else "thorough")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Workers of `make test`: one per CPU, up to four (each needs 1 to 2 GB)."""
    return min(os.cpu_count() or 1, 4)


@pytest.fixture(scope="session")
def embedded_model(tmp_path_factory) -> Path:
    """The embedded model in `models/`; if it has to be converted, one worker does it for all."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "embedded.lock"):
        return ensure_embedded(ROOT / DEFAULT_OUT)


@pytest.fixture(scope="session")
def nvml_stub(tmp_path_factory) -> Path:
    """The folder of a stub driver with one card, for LD_LIBRARY_PATH of a fresh process."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc or gcc) to compile the stub driver with")
    source = Path(__file__).parent / "support" / "servers" / "nvml_stub.c"
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-Wall", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
    return library.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real rows: WEEKAHEAD_DATA (default `../shared/data`); skips if it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WEEKAHEAD_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real rows at {folder}; name their folder in the variable WEEKAHEAD_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, embedded_model):
    """A folder with `base/`, `recipe.yaml` and `data/datasets/m`, in which commands are run.

    Each worker makes its own, in less than a second: tests write into it.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(embedded_model)
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
    write_market(Market(), folder / "data", "m")
    return folder


@pytest.fixture(scope="session")
def small(tiny):
    """Recipe, base, tokenizer, stop ids, and the folder of an adapter that changes every answer."""
    import torch
    from peft import LoraConfig, get_peft_model

    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text()) | {"load_in_4bit": False}
    (tiny / "fp32.yaml").write_text(yaml.safe_dump(recipe))
    base = base_from_recipe(recipe, FP32)
    tokenizer = load_tokenizer(base)
    torch.manual_seed(3)
    lora = LoraConfig(
        r=4,
        lora_alpha=64,
        target_modules=["q_proj", "v_proj", "down_proj"],
        init_lora_weights=False,
    )
    get_peft_model(load_base(base), lora).save_pretrained(tiny / "adapter")
    return SimpleNamespace(
        recipe=recipe,
        base=base,
        tokenizer=tokenizer,
        ends=stop_token_ids(tokenizer),
        adapter=tiny / "adapter",
    )


@pytest.fixture
def market(tiny):
    """Six rows of the fictional market, of prompts that differ in length."""
    data = load_dataset(tiny / "data/datasets/m").split()
    del data.rows[6:]
    for number, row in enumerate(data.rows):
        row["prompt"][-1]["content"] += " And then?" * 3 * number
    return data
