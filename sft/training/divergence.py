"""What is not finite stops a training; one that ended above the loss it began with is said so."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_NAMED = 16
"""Rows that a message names; the manifest has all of them."""
_EDGE = 0.1
"""The share of the steps that counts as the beginning, and as the end, of a training."""
_STANDARD_ERRORS = 3.0
"""How far the end must be above the beginning. Noise alone is so far in fewer than 1 % of trainings
that learn nothing (measured: 60 rows of the fictional market, SmolLM2 135M, samples of 2 to 60)."""
_SURE = 2.0
"""An end at this many times the beginning is no noise of rows, even if the steps are too few for
an estimate of it."""
_WORSE = 1.01
"""A validation loss that rose this much is no noise: its rows are the same."""


@dataclass(frozen=True)
class Finding:
    """What was not finite in one step of a training."""

    step: int
    what: str
    """Such as "the loss"."""
    rows: Sequence[str]
    """Ids of the rows of that step, over all processes; empty if they are not known."""


class TrainingDivergedError(Exception):
    """A training whose loss, gradients or weights are not finite: no adapter comes of it.

    No RuntimeError or ValueError: the command does not end like one with a wrong argument.
    """

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(f"{finding.what} at step {finding.step}; {named(finding.rows)}")


def named(rows: Sequence[str]) -> str:
    """The ids of a step's rows in a message, the first of them if there are many."""
    if not rows:
        return "its rows are not known"
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"its rows: {', '.join(rows[:_NAMED])}{more}"


def finite(value: Any) -> Any:
    """`value`, or None for a number that is not finite: JSON has no word for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ended_above(losses: Sequence[float], eval_losses: Sequence[float] = ()) -> str | None:
    """Why a training with these losses, one per step, diverged; None if it did not.

    It did if the mean of the last tenth of its steps is above the mean of the first tenth by more
    than chance: by three standard errors of that difference, or by the beginning itself if that is
    less, or by anything if the validation loss rose too (by 1 %). The spread of a step's loss is
    half the mean square of the differences between neighbours (von Neumann 1941,
    doi:10.1214/aoms/1177731677), so that a trend does not widen it.
    """
    steps = len(losses)
    if steps < 2:
        return None
    edge = max(1, round(_EDGE * steps))
    first, last = statistics.fmean(losses[:edge]), statistics.fmean(losses[-edge:])
    squares = [(after - before) ** 2 for before, after in itertools.pairwise(losses)]
    # The variance of a difference between two means of `edge` steps is twice that of one mean.
    error = math.sqrt(2 * (statistics.fmean(squares) / 2) / edge)
    chance = min(_STANDARD_ERRORS * error, (_SURE - 1) * first)
    known = [loss for loss in eval_losses if math.isfinite(loss)]
    if len(known) > 1 and known[-1] > _WORSE * known[0]:
        chance = 0.0
    if last - first <= chance:
        return None
    return (
        f"it ended above the loss it began with: {last:.4g} over its last {_steps(edge)}, "
        f"{first:.4g} over its first"
    )


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"
