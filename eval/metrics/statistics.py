"""Intervals and tests for means over rows in weeks: the rows of one week share their market.

Rows are grouped in clusters (weeks). A mean over rows is the ratio of two cluster totals, and its
variance is that of the linearized ratio, each week's residual corrected for the week's own weight:

    e_g = sum over the rows of week g of (y - mean)        h_g = rows of week g / n
    var = sum(e_g ** 2 / (1 - h_g)) / n ** 2

(Cochran, Sampling Techniques, 3rd ed. 1977, sections 6.3 and 9A.4, with the bias-reduced correction
and the degrees of freedom of Bell & McCaffrey, Survey Methodology 28(2), 2002, for a regression on
a constant.) With weeks of equal size this is the t test on the weekly means with G - 1 degrees of
freedom. With unequal weeks the plain G / (G - 1) correction makes intervals far too narrow in
simulation: `benchmarks/statistics.py`.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp

from scipy.special import nctdtrinc, stdtr, stdtrit

from weekahead.schema.metrics import Verdict

MIN_CLUSTERS = 6
"""With fewer than six weeks there is no interval: t with so few degrees of freedom is too wide."""
ALPHA = 0.05
POWER = 0.8
TYPICAL_ICC = 0.126
"""About the intraclass correlation within a week of the truths on the public DOW 30 test rows
(analysis of variance: 0.123 over 10 weeks of 30 rows), and so of a constant caller's hits."""
TYPICAL_SKILL_ICC = 0.016
"""The same of what rows add to the skill of a model whose calls of a week are as alike as its
truths: the product of the two correlations. `python -m benchmarks.correlations`
measures both; the public outputs gave -0.06 to 0.01, with an error of 0.05."""
_NO_SPREAD = 1e-12  # a standard error below this is rounding, not spread


@dataclass(frozen=True)
class Estimate:
    """A mean over rows and its uncertainty; what cannot be computed is None."""

    mean: float | None
    """None only when there are no rows."""
    ci95: tuple[float, float] | None
    p: float | None
    """Two-sided, against a true mean of 0."""
    standard_error: float | None
    clusters: int
    """Weeks; 0 when the rows carry none."""
    n: int
    freedom: float | None = None
    """Degrees of freedom of the t: weeks - 1, or fewer if the weeks differ in size."""

    @property
    def interval(self) -> list[float] | None:
        """The 95 % interval as JSON holds it: [low, high]."""
        return list(self.ci95) if self.ci95 else None


def mean(values: Sequence[float]) -> float | None:
    """The plain mean, or None without values: an unknown value is never 0."""
    return sum(values) / len(values) if values else None


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable] | None) -> Estimate:
    """The mean of `values` with a 95 % interval and p; `clusters[i]` is the week of row i.

    Interval, p and standard error are None without clusters or with fewer than MIN_CLUSTERS. If the
    weeks do not differ at all (standard error 0), the interval is the mean itself, and p is 1 for a
    mean of 0 and 0 for any other. Raises ValueError if the two lengths differ.
    """
    n, center = len(values), mean(values)
    if center is None or clusters is None:
        return Estimate(center, None, None, None, 0, n)
    residuals: dict[Hashable, float] = {}
    sizes: dict[Hashable, int] = {}
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster] = residuals.get(cluster, 0.0) + value - center
        sizes[cluster] = sizes.get(cluster, 0) + 1
    count = len(residuals)
    if count < MIN_CLUSTERS:
        return Estimate(center, None, None, None, count, n)
    error = sum(e * e / (1 - sizes[cluster] / n) for cluster, e in residuals.items()) ** 0.5 / n
    freedom = _freedom(sizes.values())
    if error < _NO_SPREAD:
        p = 1.0 if abs(center) < _NO_SPREAD else 0.0
        return Estimate(center, (center, center), p, 0.0, count, n, freedom)
    half_width = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    p = float(2 * stdtr(freedom, -abs(center) / error))
    interval = (center - half_width, center + half_width)
    return Estimate(center, interval, p, error, count, n, freedom)


def degrees_of_freedom(weights: Iterable[float]) -> float:
    """Bell and McCaffrey's degrees of freedom of a mean over clusters; `weights` sum to 1.

    They are G - 1 for clusters of equal size. Satterthwaite's 2 E[var]^2 / Var[var] when rows are
    independent, written out for a mean.
    """
    shares = list(weights)
    ratios = [weight**2 / (1 - weight) for weight in shares]
    squares = sum(weight * weight for weight in shares)
    return 1 / (squares + sum(ratios) ** 2 - sum(ratio * ratio for ratio in ratios))


def _freedom(sizes: Iterable[int]) -> float:
    counts = list(sizes)
    return degrees_of_freedom(count / sum(counts) for count in counts)


def clustered_share(hits: Sequence[float], clusters: Sequence[Hashable] | None) -> Estimate:
    """`clustered_mean` of a share, with an interval that fits a share; `hits` are from 0 to 1.

    The interval is that of the log odds, mapped back (Korn & Graubard, Survey Methodology 24(2),
    1998): it stays within 0 and 1, and near the ends it misses the truth half as often as the
    symmetrical one. A share of exactly 0 or 1 has no spread to compute an interval from. It gets
    the exact binomial interval (Clopper & Pearson, Biometrika 26, 1934) that counts each whole week
    as a single draw, the most cautious reading of clustered rows: 0 of ten weeks is [0, 0.31].
    """
    estimate = clustered_mean([float(hit) for hit in hits], clusters)
    if estimate.ci95 is None or estimate.mean is None:
        return estimate
    unseen = 1 - (ALPHA / 2) ** (1 / estimate.clusters)
    if not any(hits):
        return replace(estimate, ci95=(0.0, unseen))
    if all(hit == 1 for hit in hits):
        return replace(estimate, ci95=(1 - unseen, 1.0))
    low, high = estimate.ci95
    return replace(estimate, ci95=_log_odds_interval(estimate.mean, (high - low) / 2))


def _log_odds_interval(share: float, half_width: float) -> tuple[float, float]:
    """`half_width` is on the scale of the share; the slope there turns it into log odds."""
    odds = share / (1 - share)
    # exp overflows above 709; the interval is [0, 1] long before.
    factor = exp(min(half_width / (share * (1 - share)), 700.0))
    low, high = odds / factor, odds * factor
    return low / (1 + low), high / (1 + high)


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable] | None
) -> Estimate:
    """The mean of a - b over the same rows; p is two-sided against no difference.

    Raises ValueError if the lengths differ: only the same rows can be compared.
    """
    return clustered_mean([x - y for x, y in zip(a, b, strict=True)], clusters)


def skill_score(
    ours: Sequence[float], reference: Sequence[float], clusters: Sequence[Hashable] | None
) -> Estimate:
    """1 - total of `ours` / total of `reference`, two scores of the same rows of which less is
    better: 1 is perfect, 0 as good as the reference.

    The interval is that of the linearized ratio (Cochran 1977, section 6.3), so p is left out: it
    belongs to the difference of the two. The mean is None if the reference's total is 0. Raises
    ValueError if the lengths differ.
    """
    total = sum(reference)
    if not total:
        return Estimate(None, None, None, None, 0, len(ours))
    ratio, unit = sum(ours) / total, total / len(reference)
    residuals = [(ratio * b - a) / unit for a, b in zip(ours, reference, strict=True)]
    estimate = clustered_mean(residuals, clusters)
    interval = estimate.ci95 and (1 - ratio + estimate.ci95[0], 1 - ratio + estimate.ci95[1])
    return replace(estimate, mean=1 - ratio, ci95=interval, p=None)


def verdict(difference: float | None, p: float | None, *, higher_is_better: bool = True) -> Verdict:
    """The sign of a difference if p < 0.05, as "better" or "worse"; else "not shown"."""
    if difference is None or p is None or p >= ALPHA or difference == 0:
        return "not shown"
    return "better" if (difference > 0) == higher_is_better else "worse"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979).

    They stay in their order. None is a comparison that was not made: it stays None and is not
    counted.
    """
    ordered = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[index] = largest
    return adjusted


def detectable_effect(estimate: Estimate, power: float = POWER) -> float | None:
    """The smallest true distance of a mean from 0 that these weeks show with probability `power`.

    It is in the unit of the mean: for a difference of direction accuracies, 0.07 is 7 points. None
    if the standard error is unknown or 0: weeks that do not differ do not tell how far other weeks
    would.
    """
    if not estimate.standard_error or estimate.freedom is None:
        return None
    return estimate.standard_error * detectable_errors(estimate.freedom, power=power)


def detectable_errors(freedom: float, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """How many standard errors a true effect must measure so that a two-sided t test at `alpha`
    shows it with probability `power`.

    It is the noncentrality of the t distribution that exceeds the critical value with that
    probability (Cohen, Statistical Power Analysis, 2nd ed. 1988, section 2.5). For many degrees of
    freedom this is Bloom's sum of two quantiles, 2.80 at 5 % and 80 %.
    """
    return float(nctdtrinc(freedom, 1 - power, stdtrit(freedom, 1 - alpha / 2)))


def planned_skill(rows_by_week: Sequence[int], icc: float = TYPICAL_SKILL_ICC) -> float | None:
    """The smallest true skill (see `eval.metrics.skill`) that future rows of one run could show.

    `rows_by_week` is the number of rows of each week, `icc` the share of the variance of what rows
    add to the skill that lies between weeks. A result of 0.1 means: a model with as many calls of
    up as of down must be right in 60 % of them, so that p is below 0.05 in four cases of five. The
    formula, with the factor of `detectable_errors`:

        factor * sqrt(0.25 / n * (1 + icc * (sum(n_g ** 2) / n - 1)))

    with Kish's design effect for clusters of unequal size (Survey Sampling, 1965, section 8.2) and
    the degrees of freedom that the interval will have, G - 1 for weeks of equal size. A result
    above 0.5 means that no model could be shown. None with fewer than MIN_CLUSTERS weeks. Raises
    ValueError for a week of fewer than one row and for an icc outside 0 to 1.
    """
    if any(rows < 1 for rows in rows_by_week) or not 0 <= icc <= 1:
        raise ValueError(
            f"rows_by_week {list(rows_by_week)}, icc {icc}: "
            "expected 1 row or more per week, icc 0 to 1"
        )
    if len(rows_by_week) < MIN_CLUSTERS:
        return None
    n = sum(rows_by_week)
    inflation = 1 + icc * (sum(rows * rows for rows in rows_by_week) / n - 1)
    return detectable_errors(_freedom(rows_by_week)) * (0.25 / n * inflation) ** 0.5


def design_effect(estimate: Estimate) -> float | None:
    """How many times larger the variance of a share is than that of as many independent rows.

    Kish's deff (Survey Sampling, 1965, section 8.2): the clustered variance over p (1 - p) / (n -
    1). n divided by it is the effective number of rows. It can fall below 1 by chance if weeks
    hardly differ. None if the standard error is unknown or 0, and for a share of exactly 0 or 1,
    which has no variance.
    """
    if not estimate.standard_error or estimate.mean is None or not 0 < estimate.mean < 1:
        return None
    return estimate.standard_error**2 * (estimate.n - 1) / (estimate.mean * (1 - estimate.mean))
