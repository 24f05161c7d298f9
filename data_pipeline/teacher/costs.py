"""What the teacher's answers cost: prices, the estimate before a run, the budget during it."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weekahead.recipe import read_yaml
from weekahead.schema.rows import Message

_EXPECTED = 'expected lines such as gpt-4.1: {input: 2.00, output: 8.00, as_of: "2026-06-21"}'
PRICES = Path(__file__).with_name("prices.yaml")

MEAN_OUTPUT_TOKENS = 500
"""For the estimate: the 546 public answers of GPT-4 have 1,968 characters on average."""
_CHARACTERS_PER_TOKEN = 4
"""Of English text, about; used for the estimate alone."""
_BYTES_PER_TOKEN = 2
"""A bound that ASCII text stays above: prose and tables of figures. A byte of any other text may be
a token of its own. Used for the budget."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, and the day (ISO date) on which that was so."""

    input: float
    output: float
    as_of: str

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars for so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


def read_price(model: str, path: Path = PRICES) -> Price | None:
    """The price of a model in the table at `path`; None if the table does not have it.

    Raises ValueError naming file and model for an entry that is not a price.
    """
    table: Any = read_yaml(path, _EXPECTED) or {}
    try:
        entry = table.get(model)
        if entry is None:
            return None
        price = Price(float(entry["input"]), float(entry["output"]), str(entry["as_of"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: the entry of {model!r} cannot be read ({error!r}); {_EXPECTED}"
        ) from None
    if not (0 <= price.input < math.inf and 0 <= price.output < math.inf):
        raise ValueError(
            f"{path}: {model!r} costs {price.input} and {price.output}; expected US dollars, 0 or "
            "more"
        )
    return price


def estimate_tokens(messages: list[Message]) -> int:
    """About how many tokens a conversation has, from its characters."""
    characters = sum(len(message["content"]) for message in messages)
    return math.ceil(characters / _CHARACTERS_PER_TOKEN)


def cost_bound(price: Price, messages: list[Message], max_tokens: int) -> float:
    """The most that a request may cost, in US dollars: a bound of its tokens, and its whole limit.

    An ASCII character is half a token, a byte of any other character a whole one.
    """
    tokens = 0.0
    for message in messages:
        ascii_size = sum(character < "\x80" for character in message["content"])
        size = len(message["content"].encode("utf-8", "replace"))
        tokens += ascii_size / _BYTES_PER_TOKEN + size - ascii_size
    return price.cost(tokens, max_tokens)


class Budget:
    """US dollars that a run may spend, what it spent, and what is reserved for answers to come."""

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        """None: no limit."""
        self.spent = 0.0
        self.estimated = 0.0
        """The part of `spent` for which no server stated its tokens: the most that it can be."""
        self._reserved: list[float] = []
        self._settled = asyncio.Condition()

    async def reserve(self, amount: float) -> bool:
        """Set `amount` aside for a request.

        False if it could pass the limit even after all answers to come. Waits while answers that
        are on their way may yet leave enough.
        """
        async with self._settled:
            await self._settled.wait_for(lambda: self._fits(amount) or not self._reserved)
            if not self._fits(amount):
                return False
            self._reserved.append(amount)
            return True

    async def settle(self, amount: float, *, cost: float, estimated: bool = False) -> None:
        """Release what `reserve` set aside, and count what the request cost (0 if it failed)."""
        self._reserved.remove(amount)
        self.spent += cost
        self.estimated += cost if estimated else 0.0
        async with self._settled:
            self._settled.notify_all()

    def _fits(self, amount: float) -> bool:
        # fsum: many small reservations must not add up to a rounding error.
        return self.limit is None or self.spent + math.fsum(self._reserved) + amount <= self.limit
