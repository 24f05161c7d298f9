"""New results in the `model-index` of a card: nothing else in its text changes."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weekahead.hub.client import HubError

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_BLOCK = re.compile(
    r"\A(?P<start>\s*---[ \t]*\r?\n)(?P<yaml>.*?\r?\n)?(?P<end>---[ \t]*(?:\r?\n|\Z))", re.S
)
_MODEL_INDEX = re.compile(r"^model-index:.*?(?=^[^\s#-]|\Z)", re.S | re.M)
"""The key with its value: up to the next line that begins with a key."""


def with_results(card: str, results: "Sequence[EvalResult]", model_name: str) -> str:
    """`card` with `results` in its `model-index`, in place of those of the same rows and metrics.

    Raises HubError if its metadata cannot be read.
    """
    import yaml

    block = _BLOCK.match(card)
    stated = (block["yaml"] or "") if block else ""
    before = _metadata(stated)
    index = _merged(before.get("model-index"), results, model_name)
    text = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True)
    newline = "\r\n" if block and "\r\n" in block["start"] else "\n"
    text = text.replace("\n", newline)
    changed, count = _MODEL_INDEX.subn(lambda _: text, stated, count=1)
    after = changed if count else stated + text
    added_twice = not count and "model-index" in before
    if added_twice or _metadata(after) != {**before, "model-index": index}:
        raise HubError(
            "the metadata of README.md has a form that a new result cannot be added to; expected "
            "plain YAML with model-index at its left edge"
        )
    if not block:
        return f"---\n{after}---\n{card}"
    return f"{block['start']}{after}{block['end']}{card[block.end() :]}"


def _metadata(text: str) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = str(error).splitlines()[0]
        raise HubError(f"the metadata of README.md is not YAML ({line}); mend it first") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HubError("the metadata of README.md is no YAML mapping; mend it first")
    return value  # pyright: ignore[reportUnknownVariableType] - any YAML


def _merged(stated: Any, results: "Sequence[EvalResult]", model_name: str) -> list[dict[str, Any]]:
    """A `model-index` with new results; what it holds of other rows and metrics stays as it is."""
    from huggingface_hub.repocard_data import (
        eval_results_to_model_index,
        model_index_to_eval_results,
    )

    new = eval_results_to_model_index(model_name, list(results))
    model_index_to_eval_results(new)  # the client's own reader takes what is written
    if not stated:
        return new
    try:
        model_index_to_eval_results(stated)
        first, *others = stated
        kept = _without(first["results"], new[0]["results"])
    except (KeyError, TypeError, AttributeError) as error:
        raise HubError(
            f"model-index of README.md is not as the Hub expects it ({error!r}); mend it first"
        ) from None
    return [{**first, "results": [*kept, *new[0]["results"]]}, *others]


def _without(
    stated: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The stated results without those metrics that are in the new ones on the same rows."""
    replaced = {(_rows(result), metric["type"]) for result in new for metric in result["metrics"]}
    kept: list[dict[str, Any]] = []
    for result in stated:
        rows = _rows(result)
        metrics = [m for m in result["metrics"] if (rows, m["type"]) not in replaced]
        if metrics:
            kept.append({**result, "metrics": metrics})
    return kept


def _rows(result: dict[str, Any]) -> tuple[str, ...]:
    dataset = result["dataset"]
    parts = (dataset["type"], dataset["name"], dataset.get("split"), dataset.get("config"))
    return (result["task"]["type"], *map(str, parts))
