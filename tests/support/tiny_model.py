"""The tiny base in fp32, unquantized, and a random adapter for it: for tests that compare answers exactly."""

from types import SimpleNamespace

import pytest
import yaml

from data_pipeline.dataset.load import eval_rows
from tests.support.tiny import tiny  # noqa: F401 - a fixture
from weekahead.models.loading import base_from_recipe, load_base, load_tokenizer, stops
from weekahead.models.precision import Precision

FP32 = Precision("fp32", "cpu", "for the test")


@pytest.fixture(scope="session")
def small(tiny):  # noqa: F811
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
        ends=stops(tokenizer, base),
        adapter=tiny / "adapter",
    )


@pytest.fixture
def market(tiny):  # noqa: F811
    """Six rows of the fictional market, of prompts that differ in length."""
    data = eval_rows(tiny / "data/datasets/m")
    del data.rows[6:]
    for number, row in enumerate(data.rows):
        row["prompt"][-1]["content"] += " And then?" * 3 * number
    return data
