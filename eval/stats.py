"""Intervals and tests for means over rows that come in weeks: the rows of one week share its market.

Rows are grouped in clusters (weeks). A mean over rows is the ratio of two cluster totals, and its
variance is that of the linearized ratio:

    e_g = sum over the rows of week g of (y - mean)
    var = G / (G - 1) * sum(e_g ** 2) / n ** 2

(Cochran, Sampling Techniques, 3rd ed. 1977, sections 6.3 and 9A.4; the same number as the cluster-robust
variance of a regression on a constant). With few clusters the quantiles of Student's t with G - 1
degrees of freedom are used (Cameron & Miller, A Practitioner's Guide to Cluster-Robust Inference,
Journal of Human Resources 50(2), 2015, section VI). With weeks of equal size this is exactly the t test
on the weekly means.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from scipy import stats

MIN_CLUSTERS = 6
"""Under six weeks there is no interval: t with so few degrees of freedom says next to nothing."""
ALPHA = 0.05
POWER = 0.8
_NO_SPREAD = 1e-12  # a standard error below this is rounding, not spread


@dataclass(frozen=True)
class Estimate:
    """A mean over rows with what is known of its error; what cannot be computed is None."""

    mean: float | None
    """None only when there are no rows."""
    ci95: tuple[float, float] | None
    p: float | None
    """Two-sided, against a true mean of 0."""
    standard_error: float | None
    clusters: int
    """Weeks; 0 when the rows carry none."""
    n: int


def mean(values: Sequence[float]) -> float | None:
    """The plain mean, or None of nothing: an unknown value is never 0."""
    return sum(values) / len(values) if values else None


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable] | None) -> Estimate:
    """The mean of `values` with a 95 % interval and p; `clusters[i]` is the week of row i.

    Interval, p and standard error are None without clusters or under MIN_CLUSTERS of them. When the
    weeks do not differ at all (standard error 0), the interval is the mean itself, and p is 1 for a
    mean of 0 and 0 for any other. Raises ValueError when the two lengths differ.
    """
    n, centre = len(values), mean(values)
    if centre is None or clusters is None:
        return Estimate(centre, None, None, None, 0, n)
    residuals: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster] = residuals.get(cluster, 0.0) + value - centre
    count = len(residuals)
    if count < MIN_CLUSTERS:
        return Estimate(centre, None, None, None, count, n)
    error = (count / (count - 1) * sum(e * e for e in residuals.values())) ** 0.5 / n
    if error < _NO_SPREAD:
        return Estimate(centre, (centre, centre), 1.0 if abs(centre) < _NO_SPREAD else 0.0, 0.0, count, n)
    reach = float(stats.t.ppf(1 - ALPHA / 2, count - 1)) * error
    p = float(2 * stats.t.sf(abs(centre) / error, count - 1))
    return Estimate(centre, (centre - reach, centre + reach), p, error, count, n)


def clustered_share(hits: Sequence[bool], clusters: Sequence[Hashable] | None) -> Estimate:
    """`clustered_mean` of a share: its interval stays within 0 and 1, and is never a point at the ends.

    A share of exactly 0 or 1 has no spread to compute an interval from. It gets the exact binomial one
    (Clopper & Pearson, Biometrika 26, 1934) that counts each whole week as a single draw, the most
    cautious reading of clustered rows: 0 of ten weeks is [0, 0.31].
    """
    estimate = clustered_mean([float(hit) for hit in hits], clusters)
    if estimate.ci95 is None:
        return estimate
    unseen = 1 - (ALPHA / 2) ** (1 / estimate.clusters)
    if not any(hits):
        return replace(estimate, ci95=(0.0, unseen))
    if all(hits):
        return replace(estimate, ci95=(1 - unseen, 1.0))
    return replace(estimate, ci95=(max(0.0, estimate.ci95[0]), min(1.0, estimate.ci95[1])))


def paired_difference(a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable] | None) -> Estimate:
    """The mean of a - b over the same rows; p is two-sided against no difference.

    Raises ValueError when the lengths differ: a comparison on different rows is none.
    """
    return clustered_mean([x - y for x, y in zip(a, b, strict=True)], clusters)


def verdict(difference: float | None, p: float | None, higher_is_better: bool = True) -> str:
    """Say "better", "worse" or "not shown": the sign of a difference where p < 0.05, and else nothing."""
    if difference is None or p is None or p >= ALPHA or difference == 0:
        return "not shown"
    return "better" if (difference > 0) == higher_is_better else "worse"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for being several (Holm, Scandinavian Journal of Statistics 6, 1979).

    In the order given. A None is a comparison that was not made: it stays None and does not count.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted


def detectable_effect(estimate: Estimate, power: float = POWER) -> float | None:
    """The smallest true distance of a mean from 0 that these weeks would show with probability `power`.

    In the unit of the mean: for a difference of direction accuracies, 0.07 is 7 points. At 80 % power
    and two-sided 5 % it is (t_0.975 + t_0.8) times the standard error, G - 1 degrees of freedom
    (Bloom, Minimum Detectable Effects, Evaluation Review 19(5), 1995). None without a standard error,
    or with one of 0: weeks that do not differ say nothing about how far others would.
    """
    if not estimate.standard_error:
        return None
    freedom = estimate.clusters - 1
    return estimate.standard_error * float(stats.t.ppf(1 - ALPHA / 2, freedom) + stats.t.ppf(power, freedom))
