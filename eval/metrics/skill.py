"""Directional skill: how much more often a run is right than its own mix of calls is by chance.

A run that always says up is right as often as the market rises. That measures the market. Skill is
the accuracy minus what calls in the same proportion hit if they know nothing about the week: with
calls s and truths y in {-1, 1}, over the rows with a stated direction,

    skill = (1/n) sum (s - mean s) (y - mean y) / 2

where n counts all rows, so that an answer without a direction adds nothing. It is the quantity of
Pesaran & Timmermann (Journal of Business & Economic Statistics 10(4), 1992), with the uncertainty
of a mean over weeks. A row of silence is no call of 0: a run that is silent in weeks of falling
prices would seem to know them.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy
from scipy.special import stdtr, stdtrit
from scipy.stats import hypergeom

from eval.metrics.statistics import (
    ALPHA,
    MIN_CLUSTERS,
    POWER,
    degrees_of_freedom,
    detectable_errors,
)

MIN_FIRMS = 5
"""From this many firms on, rows of one firm count as related as well."""
RAREST_CALL = 0.05
"""The least share of the rarer call: with fewer, a handful of rows decides."""
RAREST_CALL_WEEKS = 3
"""The fewest weeks in which the rarer call is made."""
_FEW = 5.0
"""An expected count below this is too small for the normal approximation (Cochran 1954)."""
_NO_SPREAD = 1e-12
_LARGEST = 1.0
"""No difference of two skills is larger, so no interval reaches further."""

Array = numpy.ndarray[Any, numpy.dtype[Any]]


class Error(NamedTuple):
    """A standard error and its degrees of freedom."""

    size: float
    freedom: float

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval."""
        return float(stdtrit(self.freedom, 1 - ALPHA / 2)) * self.size

    def with_variance_of(self, other: "Error") -> "Error":
        """The error of the sum of two independent parts."""
        variance = self.size**2 + other.size**2
        parts = self.size**4 / self.freedom + other.size**4 / other.freedom
        return Error(variance**0.5, variance**2 / parts) if parts else self


@dataclass(frozen=True)
class SkillEstimate:
    """Skill and its uncertainty; what cannot be computed is None."""

    excess_accuracy: float | None
    """None only without rows."""
    ci95: tuple[float, float] | None
    p: float | None
    """Two-sided, against no skill."""
    n: int
    """All rows with a truth, answered or not."""
    weeks: int | None
    up_share: float | None
    """Of the calls."""
    truth_up_share: float | None
    """Of the truths, on the rows with a call."""
    error: Error | None = None
    """None as well if only an exact test of few rows, or of weeks that do not differ, gives p."""


def skill_values(calls: Sequence[int | None], truths: Sequence[int]) -> Array:
    """What each row adds: (s - mean s) (y - mean y) / 2, or 0 for a call that is neither 1 nor -1.

    Its mean over all rows is the skill.
    """
    called = numpy.array([call in (-1, 1) for call in calls], dtype=bool)
    values = numpy.zeros(len(called))
    if called.any():
        s = numpy.array([call for call in calls if call in (-1, 1)], dtype=float)
        y = numpy.asarray(truths, dtype=float)[called]
        values[called] = (s - s.mean()) * (y - y.mean()) / 2
    return values


def directional_skill(
    calls: Sequence[int | None],
    truths: Sequence[int],
    weeks: Sequence[Hashable] | None,
    firms: Sequence[Hashable] | None = None,
) -> SkillEstimate:
    """The skill of `calls` (1, -1; anything else is no call) on rows with `truths` (1, -1).

    Interval and p need weeks, at least MIN_CLUSTERS of them, and calls and truths of both
    directions. Raises ValueError if the lengths differ.
    """
    if not len(calls) == len(truths) == len(weeks or calls) == len(firms or calls):
        raise ValueError("calls, truths, weeks and firms differ in length")
    values = skill_values(calls, truths)
    pairs = [(call, truth) for call, truth in zip(calls, truths, strict=True) if call in (-1, 1)]
    count = len(set(weeks)) if weeks else None
    ups = [call == 1 for call, _ in pairs]
    rises = [truth == 1 for _, truth in pairs]
    estimate = SkillEstimate(
        excess_accuracy=float(values.mean()) if len(values) else None,
        ci95=None,
        p=None,
        n=len(values),
        weeks=count,
        up_share=sum(ups) / len(ups) if ups else None,
        truth_up_share=sum(rises) / len(rises) if rises else None,
    )
    if weeks is None or len({*ups}) < 2 or len({*rises}) < 2:
        return estimate
    exact = _exact_p(sum(ups), sum(rises), sum(map(all, zip(ups, rises, strict=True))), len(ups))
    return mean_with_error(estimate, values, weeks, firms, exact)


def skill_difference(
    a: Sequence[int | None],
    b: Sequence[int | None],
    truths: Sequence[int],
    weeks: Sequence[Hashable] | None,
    firms: Sequence[Hashable] | None = None,
) -> SkillEstimate:
    """The skill of `a` minus that of `b` on the same rows, with the error of the paired values."""
    values = skill_values(a, truths) - skill_values(b, truths)
    estimate = SkillEstimate(
        excess_accuracy=float(values.mean()) if len(values) else None,
        ci95=None,
        p=None,
        n=len(values),
        weeks=len(set(weeks)) if weeks else None,
        up_share=None,
        truth_up_share=None,
    )
    if weeks is None or not numpy.any(values):
        return estimate
    return mean_with_error(estimate, values, weeks, firms)


def mean_with_error(
    estimate: SkillEstimate,
    values: Array,
    weeks: Sequence[Hashable],
    firms: Sequence[Hashable] | None,
    exact_p: float | None = None,
    more: Error | None = None,
) -> SkillEstimate:
    """`estimate` with the mean of `values`, interval and p, from the largest error that applies.

    `more` is an error beside that of the rows, such as that of a few seeds: the variances are
    added, with the degrees of freedom of Welch and Satterthwaite.
    """
    found = largest_error(values, weeks, firms, exact_p)
    if found is None:
        return estimate
    center = float(values.mean())
    test = found.test(center, more, largest=_LARGEST)
    return replace(estimate, excess_accuracy=center, ci95=test.ci95, p=test.p, error=test.error)


class MeanTest(NamedTuple):
    """A mean against 0."""

    ci95: tuple[float, float]
    p: float
    error: Error | None
    """What both are made of; None if an exact test decides."""


class LargestError(NamedTuple):
    """The error of a mean that its interval and its p are made of."""

    error: Error
    exact_p: float | None = None
    """The p of an exact test, for rows that are too few or too alike for the error."""

    def test(self, center: float, more: Error | None = None, *, largest: float) -> MeanTest:
        """The test of a mean of `center`; its interval holds 0 if and only if p is not below 0.05.

        `more` is an independent error beside that of the rows, `largest` the furthest from 0 that
        the mean can be.
        """
        error = self.error.with_variance_of(more) if more is not None else self.error
        p, half = two_sided_p(center, error), error.half_width
        is_exact = self.exact_p is not None and self.exact_p > p
        if self.exact_p is not None and is_exact:
            p = self.exact_p
            # An exact p near 1 would imply an interval without an end; it says no more than 0.5.
            implied = _implied(center, min(p, 0.5), error.freedom).half_width
            half = max(half, implied)
        ci95 = (max(center - half, -largest), min(center + half, largest))
        return MeanTest(ci95, p, None if is_exact else error)


def largest_error(
    values: Array,
    weeks: Sequence[Hashable],
    firms: Sequence[Hashable] | None = None,
    exact_p: float | None = None,
    *,
    by_week_alone: bool = False,
) -> LargestError | None:
    """The largest error of the mean of `values` that applies; None under MIN_CLUSTERS weeks.

    With `by_week_alone` it is that by week, also if that of independent rows is larger. Values that
    do not differ get the sign test over weeks. Raises ValueError without values.
    """
    center, week_codes = float(values.mean()), _codes(weeks)
    if week_codes.max() + 1 < MIN_CLUSTERS:
        return None
    errors = errors_of_mean(values, week_codes, _codes(firms) if firms else None)
    if by_week_alone:
        errors = errors[:1]
    exact = [] if exact_p is None else [exact_p]
    if errors[0].size < _NO_SPREAD and abs(center) > _NO_SPREAD:
        exact.append(_sign_test(int(week_codes.max()) + 1))
    largest = max(errors, key=lambda candidate: candidate.half_width)
    return LargestError(largest, max(exact, default=None))


def two_sided_p(center: float, error: Error) -> float:
    """The p of a mean against 0; without any spread 1 for a mean of 0, else 0."""
    if error.size < _NO_SPREAD:
        return float(abs(center) < _NO_SPREAD)
    return float(2 * stdtr(error.freedom, -abs(center) / error.size))


def detectable_skill(estimate: SkillEstimate, tests: int = 1, power: float = POWER) -> float | None:
    """The smallest true skill that such rows show with probability `power`.

    Shown means what it means for the verdict: the error that was the largest, and a two-sided p
    below ALPHA / `tests`, the first step of Holm's correction over `tests` runs. 0.1 means: with
    as many calls of up as of down, 60 % of them must be right. A result above 0.5 means that no
    model could be shown to have skill. None if the error is unknown.
    """
    if estimate.error is None or estimate.error.size < _NO_SPREAD:
        return None
    size, freedom = estimate.error
    return size * detectable_errors(freedom, alpha=ALPHA / tests, power=power)


def errors_of_mean(values: Array, weeks: Array, firms: Array | None) -> list[Error]:
    """The standard errors of the mean of `values` that apply; the first is that by week.

    Rows of a week share their market. By chance they can seem to cancel out, so the error is never
    below that of independent rows. From MIN_FIRMS firms on rows of a firm count as related as well:
    the two variances are added and that of their intersection is taken off (Cameron, Gelbach &
    Miller, Journal of Business & Economic Statistics 29(2), 2011), with min(weeks, firms) - 1
    degrees of freedom.
    """
    residuals = values - values.mean()
    by_week = _clustered(residuals, weeks)
    rows = _clustered(residuals, numpy.arange(len(values)))
    errors = [by_week, rows]
    if firms is None or firms.max() + 1 < MIN_FIRMS:
        return errors
    by_firm = _clustered(residuals, firms)
    both = _clustered(residuals, _codes(list(zip(weeks.tolist(), firms.tolist(), strict=True))))
    variance = by_week.size**2 + by_firm.size**2 - both.size**2
    freedom = float(min(weeks.max(), firms.max()))
    return [*errors, Error(max(variance, 0.0) ** 0.5, freedom)]


def _clustered(residuals: Array, clusters: Array) -> Error:
    """The error of a mean over clusters, as `statistics.clustered_mean` has it."""
    sums = numpy.bincount(clusters, residuals)
    weights = numpy.bincount(clusters) / len(residuals)
    size = float((sums**2 / (1 - weights)).sum() ** 0.5 / len(residuals))
    return Error(size, degrees_of_freedom(weights))


def _codes(labels: Sequence[Hashable]) -> Array:
    """Each label as a number from 0, in the order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return numpy.array([numbers.setdefault(label, len(numbers)) for label in labels])


def _exact_p(ups: int, rises: int, both: int, n: int) -> float | None:
    """Fisher's exact two-sided p of calls and truths over independent rows.

    None if the table is large enough for the normal approximation. The two-sided p is twice the
    smaller tail, at most 1.
    """
    expected = min(ups, n - ups) * min(rises, n - rises) / n
    if expected >= _FEW:
        return None
    above = float(hypergeom.sf(both - 1, n, rises, ups))
    below = float(hypergeom.cdf(both, n, rises, ups))
    return min(1.0, 2 * min(above, below))


def _sign_test(weeks: int) -> float:
    """Two-sided p of weeks that all lean to one side: what is left if they do not differ."""
    return 2.0 ** (1 - weeks)


def _implied(center: float, p: float, freedom: float) -> Error:
    """The standard error with which a t test of `center` would give `p`."""
    quantile = float(stdtrit(freedom, 1 - p / 2))
    return Error(abs(center) / max(quantile, _NO_SPREAD), freedom)
