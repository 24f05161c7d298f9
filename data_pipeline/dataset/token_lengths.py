"""How many tokens a row has with each recipe's tokenizer that is on this machine: counted on a sample."""

import hashlib
import heapq
from typing import Any

import yaml

from weekahead.files import Row
from weekahead.recipe import RECIPES

SAMPLE_ROWS = 500
"""Rows drawn for median and 95th percentile."""
LONGEST_ROWS = 50
"""Rows with the most characters, counted besides: the longest in tokens is among them, or close to it."""


class LengthSample:
    """Rows to count: those whose id hashes lowest, so that the same rows are drawn in any order, and the longest."""

    def __init__(self) -> None:
        self._drawn: list[tuple[int, str, list[Row]]] = []
        self._longest: list[tuple[int, str, list[Row]]] = []

    def add(self, row: Row) -> None:
        """Take `row` in, if it belongs to the sample of the rows so far."""
        turns = [*row["prompt"], *row["completion"]]
        mark = int.from_bytes(hashlib.sha256(row["id"].encode()).digest()[:8])
        _keep(self._drawn, (-mark, row["id"], turns), SAMPLE_ROWS)
        _keep(
            self._longest,
            (sum(len(turn["content"]) for turn in turns), row["id"], turns),
            LONGEST_ROWS,
        )

    def lengths(self) -> Row:
        """`recipes` (median, p95 and longest of the rows, in tokens), `absent` tokenizers, and the rows counted."""
        found, absent = [], []
        for names, recipe in _by_tokenizer().items():
            tokenizer = _tokenizer(recipe["model_name_or_path"])
            if tokenizer is None:
                absent.append(recipe["model_name_or_path"])
                continue
            template = (
                (RECIPES / "templates" / f"{recipe['turn_format']}.jinja")
                .read_text(encoding="utf-8")
                .strip()
            )
            drawn = sorted(_count(tokenizer, template, turns) for _, _, turns in self._drawn)
            longest = max(
                (_count(tokenizer, template, turns) for _, _, turns in self._longest), default=0
            )
            found.append(
                {
                    "recipes": list(names),
                    "p50": drawn[len(drawn) // 2] if drawn else 0,
                    "p95": drawn[(95 * len(drawn)) // 100] if drawn else 0,
                    "max": max([longest, *drawn]),
                    "max_length": recipe["max_length"],
                }
            )
        rows = len({name for _, name, _ in [*self._drawn, *self._longest]})
        return {"recipes": found, "absent": absent, "rows": rows, "longest": len(self._longest)}


def _keep(
    heap: list[tuple[int, str, list[Row]]], item: tuple[int, str, list[Row]], most: int
) -> None:
    """Hold the `most` items with the greatest first value; the id decides between equal ones."""
    (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, item)


def _by_tokenizer() -> dict[tuple[str, ...], Row]:
    """(names of the recipes) -> one of them, for every model that recipes name."""
    found: dict[str, tuple[list[str], Row]] = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.setdefault(recipe["model_name_or_path"], ([], recipe))[0].append(path.stem)
    return {tuple(names): recipe for names, recipe in found.values()}


def _tokenizer(name: str) -> Any:
    """The tokenizer of a local folder or of the Hub's cache; None where it is not on this machine."""
    from transformers import AutoTokenizer

    folder = RECIPES.parent / name
    try:
        return AutoTokenizer.from_pretrained(
            str(folder) if folder.is_dir() else name, local_files_only=True
        )
    except (OSError, ValueError):
        return None


def _count(tokenizer: Any, template: str, turns: list[Row]) -> int:
    text = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
