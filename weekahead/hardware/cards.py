"""The cards that plan knows, and the one that is in this machine."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

_TABLE = Path(__file__).with_name("cards.yaml")
FUSED_GROUPED_HEADS = 8.0
"""The compute capability from which torch's fused attention takes grouped heads."""
_SAME_SIZE = 0.06
"""A card is one of the table if its memory differs by less than this share from the table's."""


@dataclass(frozen=True)
class Card:
    """A GPU. What the fields mean stands in cards.yaml."""

    key: str
    name: str
    memory_bytes: float
    tflops: float
    bandwidth: float
    capability: float
    watts: float
    efficiency: Mapping[int, float]
    usd_per_hour: float | None = None
    price_source: str = ""

    def efficiency_at(self, tokens: float) -> float:
        """The share of `tflops` that micro-batches of so many tokens reach."""
        points = sorted(self.efficiency.items())
        below = [point for point in points if point[0] <= tokens] or points[:1]
        above = [point for point in points if point[0] >= tokens] or points[-1:]
        (low, at_low), (high, at_high) = below[-1], above[0]
        if high <= low:
            return at_low
        return at_low + (at_high - at_low) * (tokens - low) / (high - low)


@cache
def cards() -> dict[str, Card]:
    """The cards of the table by their key, smallest memory first."""
    table = cast("dict[str, dict[str, Any]]", yaml.safe_load(_TABLE.read_text(encoding="utf-8")))
    found: dict[str, Card] = {}
    for key, fields in table.items():
        # YAML reads 15.6e9 without a sign as a text.
        memory = float(fields.pop("memory_bytes"))
        found[key] = Card(key=key, memory_bytes=memory, **fields)
    return found


def card_named(key: str) -> Card:
    """The card `key`. Raises ValueError listing the cards there are."""
    found = cards().get(key.strip().lower())
    if found is None:
        raise ValueError(f"no card {key!r}; expected one of: {', '.join(cards())}")
    return found


def card_here() -> Card | None:
    """The first GPU of this machine if the table has it; None without one, or for another."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    name, _, mebibytes = (answer.stdout.splitlines() or [""])[0].partition(",")
    if answer.returncode or not mebibytes.strip().isdigit():
        return None
    return card_of(name, int(mebibytes) * 2**20)


def card_of(name: str, memory_bytes: int) -> Card | None:
    """The card of the table that NVIDIA calls `name` and that has about so much memory."""
    words = name.replace("-", " ").split()
    for card in cards().values():
        model = card.name.removeprefix("RTX ").split()[0]
        same_size = abs(card.memory_bytes - memory_bytes) < _SAME_SIZE * card.memory_bytes
        if model in words and same_size:
            return card
    return None
