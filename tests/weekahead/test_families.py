"""Model families: every recipe's base has an entry with its licence."""

import pytest

from weekahead.models.families import FAMILIES, licence_of
from weekahead.models.loading import base_from_recipe
from weekahead.models.precision import Precision
from weekahead.recipe import RECIPES, read_recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_has_a_family_and_a_licence(path):
    """The card of an adapter states the licence of its base; a new recipe needs an entry for it."""
    base = base_from_recipe(read_recipe(path), Precision("fp32", "cpu", "test"))
    hub_id = base.manifest_fields()["hub_id"]
    assert FAMILIES[base.turn_format].hub_id == hub_id
    assert licence_of(hub_id) == FAMILIES[base.turn_format].licence


def test_no_family_shares_its_base():
    """The licence is found by the base's Hub id, so each id may stand once."""
    hub_ids = [family.hub_id for family in FAMILIES.values()]
    assert len(set(hub_ids)) == len(hub_ids)


def test_the_licence_of_an_unknown_base_is_not_guessed():
    """A relative of a family may have another licence."""
    assert licence_of("Qwen/Qwen2.5-3B-Instruct") is None
