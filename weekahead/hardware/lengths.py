"""How long rows are, in tokens: counted, by their characters, or as the public rows are known."""

from collections.abc import Sequence
from dataclasses import dataclass

from weekahead.recipe import PUBLIC_DATASET

_CHARACTERS_PER_TOKEN = 4.0
"""Of public rows with Llama's tokenizer: 4.03, with SmolLM2's 3.49."""
_TEMPLATE = 30
"""Tokens that a chat template adds to a row."""
_PUBLIC_TOKENS = (1206, 1420, 1489, 1595, 1739, 1873, 1970, 2095, 2198, 2364, 3130)
"""Least, deciles and longest of the public training rows with Llama's tokenizer. The shape is that
of 181 of them, their mean and the longest row those of all."""
_PUBLIC_ROWS = 1230
_PUBLIC_TRAINED_SHARE = 0.208


@dataclass(frozen=True)
class RowLengths:
    """The training rows of a dataset."""

    train: Sequence[int]
    trained_share: float
    """Of the tokens, those of the completion."""
    how: str

    @classmethod
    def counted(cls, lengths: Sequence[int], trained_share: float) -> "RowLengths":
        """Lengths in tokens of the base's own tokenizer."""
        return cls(lengths, trained_share, "counted with the base's tokenizer")

    @classmethod
    def by_characters(cls, characters: Sequence[int], trained_share: float) -> "RowLengths":
        """Lengths from characters, where no tokenizer is on the disk."""
        tokens = [round(count / _CHARACTERS_PER_TOKEN) + _TEMPLATE for count in characters]
        how = f"estimated from characters, {_CHARACTERS_PER_TOKEN:g} per token: no tokenizer here"
        return cls(tokens, trained_share, how)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(self.train)

    @property
    def text(self) -> str:
        """The rows in words."""
        mean = sum(self.train) / len(self.train)
        return (
            f"{len(self.train):,} of {mean:,.0f} tokens on average, longest {self.longest:,} "
            f"({self.how})"
        )

    def checked(self, max_length: int) -> "RowLengths":
        """Itself. Raises ValueError if there is no row, or if one is longer than `max_length`."""
        if not self.train:
            raise ValueError("the dataset has no training rows; nothing to plan")
        too_long = sum(length > max_length for length in self.train)
        if max_length and too_long and "estimated" not in self.how:
            raise ValueError(
                f"{too_long} of {len(self.train)} rows are longer than max_length {max_length}, so "
                f"training would refuse them; add --max_length {self.longest}"
            )
        return self


def public_lengths(dataset: str) -> RowLengths | None:
    """The rows of the public dataset, which are known without it; None for another one."""
    if dataset.partition("@")[0] != PUBLIC_DATASET:
        return None
    lengths: list[int] = []
    steps = len(_PUBLIC_TOKENS) - 1
    for row in range(_PUBLIC_ROWS):
        place = row * steps / (_PUBLIC_ROWS - 1)
        below = min(int(place), steps - 1)
        low, high = _PUBLIC_TOKENS[below], _PUBLIC_TOKENS[below + 1]
        lengths.append(round(low + (high - low) * (place - below)))
    how = "the public rows as counted with Llama's tokenizer"
    return RowLengths(lengths, _PUBLIC_TRAINED_SHARE, how)
