"""What a model calls for a week: a direction and a bin."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from eval.metrics.baselines import Prediction
from eval.metrics.scored_answer import bin_of
from weekahead.task.answer import parse_answer
from weekahead.task.labels import BINS, direction_of


class Stated(NamedTuple):
    """A call, as far as it can be read."""

    direction: int | None
    """1 or -1."""
    prediction: str | None
    """One of the twelve bins; None without a direction or a size."""
    unreadable: str | None = None
    """Why there is no direction."""


def call_of_answer(text: str) -> Stated:
    """What an answer states, read as the report reads it."""
    answer = parse_answer(text)
    if not answer.valid or answer.direction not in (-1, 1):
        return Stated(None, None, answer.reason or "it states neither up nor down")
    return Stated(answer.direction, bin_of(Prediction(answer.direction, answer.magnitude)))


def call_of_probabilities(probabilities: Mapping[str, float]) -> Stated:
    """The likelier direction, and its likeliest bin; an exact tie is no call."""
    up = up_share(probabilities)
    if up == 0.5:
        return Stated(None, None, "up and down are equally likely")
    direction = 1 if up > 0.5 else -1
    bins = [label for label in BINS if direction_of(label) == direction]
    return Stated(direction, max(bins, key=lambda label: probabilities[label]))


def up_share(probabilities: Mapping[str, float]) -> float:
    """The probability of a rise, 0 to 1."""
    return min(1.0, math.fsum(probabilities[label] for label in BINS if direction_of(label) > 0))
