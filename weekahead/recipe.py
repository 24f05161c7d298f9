"""What the recipes say about their bases, for stages that need no more of them."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from weekahead.files import Row

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def read_cutoff(stated: Mapping[str, Any]) -> date | None:
    """The day up to which a base has read, from `knowledge_cutoff` of a recipe, a row or a manifest; None for null.

    Raises ValueError for what is no date.
    """
    value = stated.get("knowledge_cutoff")
    try:
        return (
            None if value is None else date.fromisoformat(str(value))
        )  # YAML makes a date of one without quotes
    except ValueError:
        raise ValueError(
            f"knowledge_cutoff is {value!r}; expected a date such as 2023-12-31 or null"
        ) from None


def knowledge_cutoffs(folder: Path) -> dict[str, date]:
    """The `knowledge_cutoff` of each base named by the recipes in `folder`; the latest where they differ.

    Raises ValueError naming the recipe for one that is no YAML mapping and for a value that is no date.
    """
    import yaml

    found: dict[str, date] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            recipe = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: not a recipe ({str(error).splitlines()[0]}); expected `field: value`"
            ) from None
        try:
            day = read_cutoff(recipe)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if day is None:
            continue
        base = Path(str(recipe.get("model_name_or_path", path.stem))).name
        found[base] = max(day, found.get(base, day))
    return found


def read_recipe(path: Path) -> Row:
    """A recipe's fields. Raises ValueError naming the file where it is no YAML mapping."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} holds no fields; expected a recipe such as recipes/smollm2.yaml")
    return recipe
