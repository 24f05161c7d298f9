"""What the recipes say about their bases, for commands that need no more of them."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypedDict, cast

from weekahead.files import read_text
from weekahead.task.times import read_day

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
PUBLIC_DATASET = "FinGPT/fingpt-forecaster-dow30-202305-202405"
"""The dataset of the reference runs."""


_TEXTS = ("model_name_or_path", "model_revision", "turn_format", "bnb_4bit_quant_type")
_SWITCHES = ("load_in_4bit", "use_bnb_nested_quant")


class Recipe(TypedDict, total=False):
    """The fields of a recipe that are read without the parser of the training."""

    model_name_or_path: str
    model_revision: str | None
    turn_format: str
    knowledge_cutoff: str | date | None
    """YAML reads a date without quotes as a date."""
    load_in_4bit: bool
    bnb_4bit_quant_type: str
    use_bnb_nested_quant: bool
    lora_r: int
    lora_alpha: int
    lora_target_modules: list[str]
    max_length: int


def read_recipe(path: Path) -> Recipe:
    """A recipe's fields. Raises ValueError naming the file if it is not a YAML mapping."""
    fields = read_yaml(path, f"a recipe has {_EXPECTED}")
    if not isinstance(fields, dict):
        found = "an empty file" if fields is None else f"a {type(fields).__name__}"
        raise ValueError(f"{path}: not a recipe ({found}); expected {_EXPECTED}")
    stated = cast("dict[str, object]", fields)
    for name in cast("dict[object, object]", fields):
        if not isinstance(name, str):
            raise ValueError(f"{path}: {name!r} is no field; expected {_EXPECTED}")
    for name in _TEXTS:
        if not isinstance(stated.get(name), str | None):
            raise ValueError(
                f"{path}: {name} is {stated[name]!r}; expected a text; write it in quotes"
            )
    for name in _SWITCHES:
        if not isinstance(stated.get(name), bool | None):
            raise ValueError(f"{path}: {name} is {stated[name]!r}; expected true or false")
    return cast("Recipe", fields)


def read_yaml(path: Path, remedy: str) -> object:
    """The value in a YAML file of one document.

    Raises ValueError naming the file, the line, what is wrong and `remedy`; OSError naming it.
    """
    import yaml  # here, so that a command without a recipe starts without it

    text = read_text(path)
    try:
        _check_nodes(yaml.compose(text, Loader=yaml.SafeLoader), set())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or _first_line(error)
        raise ValueError(f"{path}: not YAML ({line}{problem}); {remedy}") from None


def _check_nodes(node: Any, checked: set[int]) -> None:
    """Raise ValueError for what YAML would read as something else than what stands there.

    Of a name that is there twice it keeps the last value; 010 is 8 and 1:30 is 90.
    """
    if id(node) in checked:  # an anchor may hold itself
        return
    checked.add(id(node))
    kind = getattr(node, "id", None)
    if kind == "mapping":
        _check_names_once(node)
        for key, value in node.value:
            _check_nodes(value, checked)
            _check_number(f"{key.value} is", value)
    elif kind == "sequence":
        for value in node.value:
            _check_nodes(value, checked)
            _check_number("a list holds", value)


def _check_number(what: str, node: Any) -> None:
    if node.id == "scalar" and node.style is None and _NO_DECIMAL.fullmatch(node.value):
        raise ValueError(
            f"in line {node.start_mark.line + 1} {what} {node.value}, which is no decimal number: "
            "write it without leading zeros or colons, or in quotes if it is a text"
        )


def _check_names_once(node: Any) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key.value, str):
            raise ValueError(f"the name in line {line} is no text")
        if key.value in seen:
            raise ValueError(f"{key.value} stands in line {seen[key.value]} and in line {line}")
        seen[key.value] = line


_NO_DECIMAL = re.compile(r"[-+]?(?:0[0-7_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")
"""What YAML 1.1 reads as a number in base 8 or 60."""
_EXPECTED = "lines of the form `field: value`, as in recipes/smollm2.yaml"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def read_cutoff(stated: Mapping[str, object]) -> date | None:
    """The day up to which a base has read: `knowledge_cutoff` of a recipe, a row or a manifest.

    None if it is null or not there. Raises ValueError for a value that is not a date.
    """
    value = stated.get("knowledge_cutoff")
    if value is None:
        return None
    try:
        return read_day(str(value), "knowledge_cutoff")
    except ValueError:
        raise ValueError(
            f"knowledge_cutoff is {value!r}; expected a date such as 2023-12-31 or null"
        ) from None


def knowledge_cutoffs(folder: Path) -> dict[str, date]:
    """The `knowledge_cutoff` of each base that the recipes in `folder` name, the latest if several.

    Raises ValueError naming the recipe that is not one, or whose value is not a date.
    """
    cutoffs: dict[str, date] = {}
    for path in sorted(folder.glob("*.yaml")):
        recipe = read_recipe(path)
        try:
            cutoff = read_cutoff(recipe)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if cutoff is None:
            continue
        base = Path(recipe.get("model_name_or_path") or path.stem).name
        cutoffs[base] = max(cutoff, cutoffs.get(base, cutoff))
    return cutoffs
