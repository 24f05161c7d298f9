"""Means that describe the rows beside the one test of a run: no verdict, p uncorrected."""

import math
from collections.abc import Hashable, Sequence

import numpy

from eval.metrics.skill import Error, largest_error
from eval.metrics.weeks import too_few_weeks
from weekahead.schema.metrics import SecondaryMean


def secondary_mean(
    values: Sequence[float],
    weeks: Sequence[Hashable] | None,
    firms: Sequence[Hashable] | None = None,
    *,
    more: Error | None = None,
    largest: float = math.inf,
    by_week_alone: bool = False,
) -> SecondaryMean:
    """The mean of `values`, one per row, with the errors that the test of skill takes.

    `weeks[i]` and `firms[i]` are those of value i. `more` is an independent error beside theirs,
    such as that of a few seeds. No value is further from 0 than `largest`. `by_week_alone` leaves
    out the other errors. Without values, or without an interval, `reason` says why. Raises
    ValueError if the lengths differ.
    """
    if not len(values) == len(weeks or values) == len(firms or values):
        raise ValueError("values, weeks and firms differ in length")
    count = len(set(weeks)) if weeks is not None else None
    if not values:
        return unknown_mean("no row to measure it on", weeks=count)
    numbers = numpy.asarray(values, dtype=float)
    center = float(numbers.mean())
    found = (
        None if weeks is None else largest_error(numbers, weeks, firms, by_week_alone=by_week_alone)
    )
    if found is None:
        reason = "the rows have no week that an interval could be clustered by"
        if count is not None:
            reason = too_few_weeks(count)
        return {**unknown_mean(reason, n=len(values), weeks=count), "mean": center}
    test = found.test(center, more, largest=largest)
    return {
        "mean": center,
        "ci95": list(test.ci95),
        "p": test.p,
        "n": len(values),
        "weeks": count,
        "reason": None,
    }


def unknown_mean(reason: str, *, n: int = 0, weeks: int | None = None) -> SecondaryMean:
    """A mean that cannot be computed, and why."""
    return {"mean": None, "ci95": None, "p": None, "n": n, "weeks": weeks, "reason": reason}
