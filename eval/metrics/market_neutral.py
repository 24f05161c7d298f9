"""What a run tells apart within a week, whatever the market does: whose shares rise more.

Skill is the sum of two parts, exactly. With means within each week (s_w, y_w) and over all called
rows (s, y), the calls and truths being 1 or -1 and n counting all rows,

    skill = (1/n) sum (s_i - s_w) (y_i - y_w) / 2  +  (1/n) sum (s_w - s) (y_w - y) / 2

The first part is market-neutral: the market's move is the same for all rows of a week and falls
out. The second is the timing of the market.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy
from scipy.stats import rankdata

from eval.metrics.secondary import secondary_mean, unknown_mean
from eval.metrics.skill import Array
from weekahead.schema.metrics import SecondaryMean

NO_CALL = "no answer states a direction that can be read"
NO_WEEKS = "the rows have no week to compare them within"


def market_neutral_skill(
    calls: Sequence[int | None],
    truths: Sequence[int],
    weeks: Sequence[Hashable] | None,
    firms: Sequence[Hashable] | None = None,
    windows: Sequence[Hashable] | None = None,
) -> SecondaryMean:
    """The first part of the skill of `calls` (1, -1; anything else is no call) on rows with
    `truths` (1, -1).

    `windows` are the weeks to compare within, if several of them overlap and so count as one of
    `weeks` for the interval. A row without a call, or alone in its week, adds 0. Without calls, or
    with one direction alone in every week, the mean is 0 by construction and has no p. It is None
    if no week can show a difference. Raises ValueError if the lengths differ.
    """
    if not len(calls) == len(truths) == len(weeks or calls) == len(windows or calls):
        raise ValueError("calls, truths, weeks and windows differ in length")
    n = len(calls)
    if weeks is None:
        return unknown_mean(NO_WEEKS, n=n)
    count = len(set(weeks))
    called = [index for index, call in enumerate(calls) if call in (-1, 1)]
    if n and not called:
        return {**unknown_mean(NO_CALL, n=n, weeks=count), "mean": 0.0}
    s = numpy.array([calls[index] for index in called], dtype=float)
    y = numpy.array([truths[index] for index in called], dtype=float)
    within = [(windows or weeks)[index] for index in called]
    s, y = (_without_week(part, within) for part in (s, y))
    if not y.any():
        return unknown_mean("in no week do two called firms go different ways", n=n, weeks=count)
    if not s.any():
        reason = "in no week are both up and down called"
        return {**unknown_mean(reason, n=n, weeks=count), "mean": 0.0}
    values = numpy.zeros(n)
    values[called] = s * y / 2
    return secondary_mean(values.tolist(), weeks, firms, largest=1.0)


def _without_week(values: Array, weeks: Sequence[Hashable]) -> Array:
    """Each value minus the mean of its week."""
    rows: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, week in enumerate(weeks):
        rows[week].append(index)
    without = numpy.zeros(len(values))
    for indices in rows.values():
        without[indices] = values[indices] - values[indices].mean()
    return without


def rank_correlation(
    sizes: Sequence[float | None],
    returns: Sequence[float | None],
    weeks: Sequence[Hashable] | None,
    windows: Sequence[Hashable] | None = None,
) -> SecondaryMean:
    """Spearman's rank correlation of signed stated size and return, computed in each week: the mean
    over weeks, each week one value.

    `n` counts the rows that have both, `weeks` the weeks with a correlation: two rows or more whose
    sizes differ, and whose returns differ. Ties have their mean rank. `windows` are as in
    `market_neutral_skill`. Raises ValueError if the lengths differ.
    """
    if not len(sizes) == len(returns) == len(weeks or sizes) == len(windows or sizes):
        raise ValueError("sizes, returns, weeks and windows differ in length")
    if weeks is None:
        return unknown_mean(NO_WEEKS)
    pairs: defaultdict[tuple[Hashable, Hashable], list[tuple[float, float]]] = defaultdict(list)
    for size, value, *window in zip(sizes, returns, weeks, windows or weeks, strict=True):
        if size is not None and value is not None:
            pairs[window[0], window[1]].append((size, value))
    n = sum(len(rows) for rows in pairs.values())
    found = [(_spearman(numpy.array(rows)), week) for (week, _), rows in pairs.items()]
    known = [(value, week) for value, week in found if value is not None]
    if not known:
        return unknown_mean("in no week do both stated sizes and returns differ", n=n, weeks=0)
    values, clusters = zip(*known, strict=True)
    return {**secondary_mean(values, clusters, largest=1.0), "n": n}


def _spearman(pairs: Array) -> float | None:
    """Pearson's correlation of the ranks of two columns; None if one of them is constant."""
    ranks = rankdata(pairs, axis=0)
    ranks -= ranks.mean(axis=0)
    first, second = ranks.T
    scale = float(first @ first) * float(second @ second)
    return float(first @ second) / scale**0.5 if scale else None
