"""Calls as classes: how far they agree with the truth beyond chance, and how far off their bins are."""

from collections import Counter
from collections.abc import Sequence
from math import sqrt

from eval.metrics.baselines import Call
from eval.metrics.scored_answer import bin_of
from eval.metrics.statistics import mean
from weekahead.files import Row
from weekahead.task.labels import BINS

NONE = "none"
"""The column of calls without a bin: unreadable, neutral, or a direction without a size."""


def class_metrics(calls: Sequence[Call], truths: Sequence[Call]) -> Row:
    """The `classes` of metrics.json, over rows with a truth.

    `confusion` is true bin -> called bin (or "none") -> rows, over the rows whose truth has a bin, worst bin
    first, zeros left out. `distance` is the mean number of bins between called and true, `signed_distance`
    the mean of called minus true (above 0: too hopeful), both over the `distance_n` rows where both have a bin.
    """
    correlation = matthews(
        [truth.direction for truth in truths], [_direction(call) for call in calls]
    )
    bins = [
        (true, bin_of(call))
        for call, truth in zip(calls, truths, strict=True)
        if (true := bin_of(truth))
    ]
    steps = [BINS.index(called) - BINS.index(true) for true, called in bins if called]
    return {
        "matthews": correlation,
        "matthews_reason": None
        if correlation is not None
        else "all calls, or all truths, are the same",
        "confusion": _confusion(bins),
        "confusion_n": len(bins),
        "distance": mean([abs(step) for step in steps]),
        "signed_distance": mean(steps),
        "distance_n": len(steps),
    }


def matthews(truths: Sequence[int | None], calls: Sequence[int | None]) -> float | None:
    """Matthews correlation of directions, -1 to 1; 0 is chance. A call of None is a class that is never true.

    An unreadable or neutral call is so a wrong one, but no forecast of the opposite: counted as the opposite,
    a model that says nothing would seem to know the truth and lie. For up and down alone this is the usual
    coefficient of four cells; with the third class it is its form for several classes (Gorodkin,
    Computational Biology and Chemistry 28, 2004). None where all calls or all truths are one class. Raises
    ValueError when the lengths differ.
    """
    n = len(truths)
    right = sum(truth == call for truth, call in zip(truths, calls, strict=True))
    true, called = Counter(truths), Counter(calls)
    chance = sum(true[name] * called[name] for name in true)
    spread = (n * n - sum(k * k for k in called.values())) * (
        n * n - sum(k * k for k in true.values())
    )
    return (right * n - chance) / sqrt(spread) if spread else None


def _direction(call: Call) -> int | None:
    return call.direction if call.direction in (-1, 1) else None


def _confusion(bins: Sequence[tuple[str, str | None]]) -> dict[str, dict[str, int]]:
    counts = Counter(bins)
    columns = (*BINS, None)
    rows = {
        true: {called or NONE: k for called in columns if (k := counts[true, called])}
        for true in BINS
    }
    return {true: row for true, row in rows.items() if row}
