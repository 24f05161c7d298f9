"""The recipe that is pushed with an adapter gives the same training again."""

import pytest
import yaml

from sft.hub.recipe_file import recipe_text
from sft.training.arguments import parse
from sft.training.resume import settings_of
from tests.support.tiny import FP32
from weekahead.models.loading import base_from_recipe
from weekahead.schema.manifests import training_manifest

FLAGS = "--learning_rate 0.0003 --neftune_noise_alpha 5 --knowledge_cutoff 2024-01-31 --use_rslora"


def settings(path, *flags):
    arguments = parse(["--config", str(path), *flags], FP32)
    return settings_of(*arguments)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_pushed_recipe_gives_the_same_settings(tiny, tmp_path, processes):
    """Flags of the training are in it, and the accumulation is that of all its processes."""
    trained = settings(tiny / "recipe.yaml", *FLAGS.split())
    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text())
    base = {**base_from_recipe(recipe, FP32).manifest_fields(), "revision": "a" * 40}
    manifest = training_manifest(
        {"base": base, "settings": {**trained, "world_size": processes}, "dataset": {"source": "x"}}
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(manifest, "user/base"))
    again = yaml.safe_load(path.read_text())
    assert again["model_name_or_path"] == "user/base" and again["model_revision"] == "a" * 40
    assert again["load_in_4bit"] and again["use_bnb_nested_quant"]
    name = "gradient_accumulation_steps"
    assert settings(path) == {**trained, name: trained[name] * processes}
