"""How many tokens a row has with each recipe's tokenizer on this machine, counted on a sample."""

import hashlib
import heapq
from dataclasses import dataclass, field
from typing import Any

from weekahead.models.chat_format import apply_chat_format, chat_format, message_length
from weekahead.recipe import RECIPES, read_recipe
from weekahead.schema.manifests import RecipeLengths, TokenLengths
from weekahead.schema.rows import DatasetRow, Message

SAMPLE_ROWS = 500
"""Rows drawn for median and 95th percentile."""
LONGEST_ROWS = 50
"""Rows with the most characters, counted besides: the longest in tokens is (almost) among them."""


@dataclass(frozen=True, order=True)
class _SampledRow:
    """A row in a heap; the id decides between rows of one rank."""

    rank: int
    id: str
    messages: list[Message] = field(compare=False)


class LengthSample:
    """The rows to count: those whose id has the lowest hash, and the longest.

    So the same rows are drawn whatever their order.
    """

    def __init__(self) -> None:
        self._drawn: list[_SampledRow] = []
        self._longest: list[_SampledRow] = []

    def add(self, row: DatasetRow) -> None:
        """Take `row` in if it belongs to the sample of the rows so far."""
        messages = [*row["prompt"], *row["completion"]]
        number = int.from_bytes(hashlib.sha256(row["id"].encode()).digest()[:8])
        characters = sum(len(message["content"]) for message in messages)
        _push(self._drawn, _SampledRow(-number, row["id"], messages), SAMPLE_ROWS)
        _push(self._longest, _SampledRow(characters, row["id"], messages), LONGEST_ROWS)

    def lengths(self) -> TokenLengths:
        """The lengths with each model's tokenizer, and the models whose tokenizer is not here."""
        recipes: list[RecipeLengths] = []
        absent: list[str] = []
        for model, names in _recipes_by_model().items():
            recipe = read_recipe(RECIPES / f"{names[0]}.yaml")
            tokenizer = _tokenizer(model, recipe.get("turn_format", ""))
            if tokenizer is None:
                absent.append(model)
                continue
            drawn = sorted(message_length(tokenizer, row.messages) for row in self._drawn)
            longest = [message_length(tokenizer, row.messages) for row in self._longest]
            recipes.append(
                {
                    "recipes": names,
                    "p50": drawn[len(drawn) // 2] if drawn else 0,
                    "p95": drawn[(95 * len(drawn)) // 100] if drawn else 0,
                    "max": max([*longest, *drawn], default=0),
                    "max_length": recipe.get("max_length", 0),
                }
            )
        ids = {row.id for row in [*self._drawn, *self._longest]}
        return {
            "recipes": recipes,
            "absent": absent,
            "rows": len(ids),
            "longest": len(self._longest),
        }


def _push(heap: list[_SampledRow], row: _SampledRow, most: int) -> None:
    """Keep the `most` rows of the highest rank in `heap`."""
    if len(heap) < most:
        heapq.heappush(heap, row)
    else:
        heapq.heappushpop(heap, row)


def _recipes_by_model() -> dict[str, list[str]]:
    """Model -> the names of its recipes."""
    names: dict[str, list[str]] = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        model = read_recipe(path).get("model_name_or_path", path.stem)
        names.setdefault(model, []).append(path.stem)
    return names


def _tokenizer(model: str, turn_format: str) -> Any:
    """The tokenizer in its chat format, from a local folder or the Hub's cache.

    None if it is not on this machine.
    """
    from transformers import AutoTokenizer

    folder = RECIPES.parent / model
    name = str(folder) if folder.is_dir() else model
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, local_files_only=True, trust_remote_code=False
        )
        return apply_chat_format(tokenizer, chat_format(turn_format))
    except (OSError, ValueError):
        return None
