"""What the recipes say about their bases, for stages that need no more of them."""

from datetime import date
from pathlib import Path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


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
            raise ValueError(f"{path}: not a recipe ({str(error).splitlines()[0]}); expected `field: value`") from None
        if (stated := recipe.get("knowledge_cutoff")) is None:
            continue
        try:
            day = date.fromisoformat(str(stated))
        except ValueError:
            raise ValueError(f"{path}: knowledge_cutoff is {stated!r}; expected a date such as 2023-12-31") from None
        base = Path(str(recipe.get("model_name_or_path", path.stem))).name
        found[base] = max(day, found.get(base, day))
    return found
