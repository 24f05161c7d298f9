"""Week-clustered intervals against hand-worked numbers, scipy and simulated worlds."""

import math
import random

import numpy
import pytest
from scipy import stats as scipy_stats

from eval.metrics.statistics import (
    TYPICAL_ICC,
    Estimate,
    clustered_mean,
    clustered_share,
    design_effect,
    detectable_effect,
    detectable_errors,
    holm,
    paired_difference,
    planned_skill,
    verdict,
)

TEN_WEEKS = [week for week in range(10) for _ in range(30)]


def world(
    rng: random.Random, share: float = 0.5, spread: float = 0.15, per_week: int = 30
) -> list[float]:
    """Ten weeks of right (1) and wrong (0) predictions; the rows of a week share its luck."""
    values = []
    for _ in range(10):
        luck = share + rng.uniform(-1, 1) * spread * 3**0.5
        values += [float(rng.random() < luck) for _ in range(per_week)]
    return values


def test_weeks_of_equal_size_give_the_t_test_on_weekly_means():
    values = world(random.Random(1))
    means = [sum(values[i : i + 30]) / 30 for i in range(0, 300, 30)]
    expected = scipy_stats.ttest_1samp(means, 0.0)
    estimate = clustered_mean(values, TEN_WEEKS)
    assert estimate.mean == pytest.approx(sum(values) / 300)
    assert estimate.ci95 == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert estimate.p == pytest.approx(expected.pvalue)
    assert (estimate.clusters, estimate.n) == (10, 300)


def test_weeks_of_unequal_size_by_hand():
    # Week a holds three rows (1, 1, 0), five more weeks one row each: 1, 0, 0, 0, 0. Mean 3/8.
    values, weeks = [1, 1, 0, 1, 0, 0, 0, 0], list("aaabcdef")
    # Residual totals: a 2 - 9/8 = 7/8, b 5/8, four times -3/8; week a is 3/8 of the rows, the
    # others 1/8 each.
    error = ((49 / 64) / (5 / 8) + (25 + 4 * 9) / 64 / (7 / 8)) ** 0.5 / 8
    estimate = clustered_mean(values, weeks)
    assert estimate.standard_error == pytest.approx(error)
    half_width = scipy_stats.t.ppf(0.975, estimate.freedom) * error
    assert estimate.ci95 == pytest.approx((3 / 8 - half_width, 3 / 8 + half_width))
    assert estimate.p == pytest.approx(2 * scipy_stats.t.sf(3 / 8 / error, estimate.freedom))


@pytest.mark.parametrize("sizes", [[3, 1, 1, 1, 1, 1], [30] * 10, [5, 10, 15, 20, 25, 30, 70]])
def test_degrees_of_freedom_follow_from_the_residuals(sizes):
    # From the definition: tr(B)^2 / tr(B^2), where B is the covariance of e_g / sqrt(1 - h_g) under
    # independent rows.
    n = numpy.array(sizes)
    scale = 1 / numpy.sqrt(1 - n / n.sum())
    b = scale[:, None] * (numpy.diag(n) - numpy.outer(n, n) / n.sum()) * scale
    weeks = [week for week, size in enumerate(sizes) for _ in range(size)]
    estimate = clustered_mean([float(i % 2) for i in range(len(weeks))], weeks)
    assert estimate.freedom == pytest.approx(numpy.trace(b) ** 2 / numpy.trace(b @ b))
    if len(set(sizes)) == 1:
        assert estimate.freedom == pytest.approx(len(sizes) - 1)


def test_interval_covers_in_simulated_clustered_worlds():
    rng = random.Random(20)
    clustered = naive = 0
    for _ in range(400):
        values = world(rng)
        low, high = clustered_share([value == 1 for value in values], TEN_WEEKS).ci95
        clustered += low <= 0.5 <= high
        half_width = 1.96 * (0.25 / 300) ** 0.5
        naive += abs(sum(values) / 300 - 0.5) <= half_width
    assert 0.92 <= clustered / 400 <= 0.98
    assert naive / 400 < 0.85  # an interval that takes rows for independent is far too narrow here


def test_detectable_effect_is_found_four_times_in_five():
    rng = random.Random(3)
    effects = [
        detectable_effect(clustered_mean([v - 0.5 for v in world(rng)], TEN_WEEKS))
        for _ in range(200)
    ]
    effect = math.fsum(effects) / len(effects)
    detected = 0
    for _ in range(400):
        estimate = clustered_mean([v - 0.5 for v in world(rng, share=0.5 + effect)], TEN_WEEKS)
        detected += verdict(estimate.mean, estimate.p) == "better"
    assert 0.72 <= detected / 400 <= 0.88


def test_no_interval_under_six_weeks_or_without_weeks():
    values = [0.0, 1.0] * 5
    five = clustered_mean(values, [i % 5 for i in range(10)])
    assert (five.mean, five.ci95, five.p, five.clusters) == (0.5, None, None, 5)
    assert clustered_mean(values, [i % 6 for i in range(10)]).ci95 is not None
    assert clustered_mean(values, None) == Estimate(0.5, None, None, None, 0, 10)
    assert clustered_mean([], []).mean is None
    assert detectable_effect(five) is None


def test_order_of_rows_changes_nothing():
    values = world(random.Random(5))
    order = random.Random(6).sample(range(300), 300)
    mixed = clustered_mean([values[i] for i in order], [TEN_WEEKS[i] for i in order])
    assert mixed.ci95 == pytest.approx(clustered_mean(values, TEN_WEEKS).ci95)


@pytest.mark.parametrize(
    ("difference", "p", "expected"), [(0.0, 1.0, "not shown"), (1.0, 0.0, "better")]
)
def test_weeks_without_spread(difference, p, expected):
    estimate = paired_difference([difference] * 60, [0.0] * 60, [i % 6 for i in range(60)])
    assert (estimate.mean, estimate.p, estimate.ci95) == (difference, p, (difference, difference))
    assert verdict(estimate.mean, estimate.p) == expected
    assert detectable_effect(estimate) is None


def test_rounding_is_not_taken_for_spread():
    estimate = clustered_mean([0.1] * 70, [i % 7 for i in range(70)])
    assert (estimate.standard_error, estimate.p) == (0.0, 0.0)


def test_a_share_of_all_or_nothing_is_not_certain():
    weeks = [i % 10 for i in range(50)]
    assert clustered_share([False] * 50, weeks).ci95 == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert clustered_share([True] * 50, weeks).ci95 == pytest.approx((0.6915, 1.0), abs=1e-4)
    # The bound is Clopper and Pearson's for 0 of 10.
    assert scipy_stats.binomtest(0, 10).proportion_ci(method="exact").high == pytest.approx(
        0.3085, abs=1e-4
    )


def test_the_interval_of_a_share_stays_within_zero_and_one():
    hits = [True] * 48 + [False, False]
    low, high = clustered_share(hits, [i // 5 for i in range(50)]).ci95
    assert low < 0.96 < high < 1.0
    assert 0.96 - low > high - 0.96  # more room to be wrong on the side away from the end


def test_the_interval_of_a_share_is_that_of_its_log_odds():
    hits, weeks = [i % 7 == 0 or i < 20 for i in range(120)], [i // 12 for i in range(120)]
    share, error = sum(hits) / 120, clustered_mean(hits, weeks).standard_error
    middle = math.log(share / (1 - share))
    half_width = scipy_stats.t.ppf(0.975, 9) * error / (share * (1 - share))
    expected = [1 / (1 + math.exp(-(middle + sign * half_width))) for sign in (-1, 1)]
    assert clustered_share(hits, weeks).ci95 == pytest.approx(tuple(expected))
    misses = clustered_share([not hit for hit in hits], weeks).ci95
    assert misses == pytest.approx((1 - expected[1], 1 - expected[0]))


def test_a_share_of_mean_hits_is_no_share_of_ones():
    halves = clustered_share(
        [0.5 + 0.1 * (i % 5 - 2) for i in range(60)], [i // 10 for i in range(60)]
    )
    assert halves.mean == pytest.approx(0.5)
    nearly = clustered_share([1.0] * 59 + [0.5], [i // 10 for i in range(60)])
    assert nearly.ci95[0] < nearly.mean < nearly.ci95[1] <= 1.0


def test_design_effect_counts_the_rows_that_a_week_is_worth():
    alone = clustered_share([i % 3 == 0 for i in range(60)], range(60))
    assert design_effect(alone) == pytest.approx(
        1.0
    )  # every row a week of its own: nothing is shared
    whole_weeks = clustered_share([i // 10 < 4 for i in range(100)], [i // 10 for i in range(100)])
    assert 100 / design_effect(whole_weeks) == pytest.approx(
        10, rel=0.1
    )  # all rows of a week alike
    five = clustered_share([True, False] * 5, [i % 5 for i in range(10)])
    assert design_effect(five) is None
    assert design_effect(clustered_share([True] * 60, [i % 6 for i in range(60)])) is None


def test_planned_skill_by_hand():
    # Ten weeks of 30: deff 1 + 0.016 * 29 = 1.464; 3.150 errors with 9 degrees of freedom.
    assert planned_skill([30] * 10) == pytest.approx(3.150 * (0.25 / 300 * 1.464) ** 0.5, abs=1e-4)
    assert (
        planned_skill([30] * 10, icc=0)
        < planned_skill([30] * 10)
        < planned_skill([30] * 10, icc=TYPICAL_ICC)
    )
    assert planned_skill([30] * 5) is None
    assert planned_skill([]) is None
    assert planned_skill([50] * 5 + [5] * 10) > planned_skill([20] * 15)
    for rows, icc in ([30, 0], 0.1), ([30] * 6, 1.5):
        with pytest.raises(ValueError, match="expected 1 row or more"):
            planned_skill(rows, icc)


@pytest.mark.parametrize("freedom", [5, 9, 25, 299])
@pytest.mark.parametrize("tests", [1, 10, 20])
def test_detectable_errors_have_eighty_percent_power(freedom, tests):
    """The power of the t test at that effect, from the distribution itself."""
    alpha = 0.05 / tests
    errors = detectable_errors(freedom, alpha=alpha)
    critical = scipy_stats.t.ppf(1 - alpha / 2, freedom)
    assert scipy_stats.nct.sf(critical, freedom, errors) == pytest.approx(0.8, abs=1e-4)


def test_paired_difference_needs_the_same_rows():
    with pytest.raises(ValueError, match="argument"):
        paired_difference([1.0, 0.0], [1.0], ["a", "b"])
    with pytest.raises(ValueError, match="argument"):
        clustered_mean([1.0, 0.0], ["a"])


def test_pairing_removes_what_both_share():
    luck = world(random.Random(8), spread=0.25)
    better = [1.0 if i % 10 == 0 else value for i, value in enumerate(luck)]
    paired = paired_difference(better, luck, TEN_WEEKS)
    alone = clustered_mean(better, TEN_WEEKS)
    assert paired.standard_error < alone.standard_error / 2
    assert verdict(paired.mean, paired.p) == "better"
    backwards = paired_difference(luck, better, TEN_WEEKS)
    assert (backwards.mean, backwards.p) == pytest.approx((-paired.mean, paired.p))


@pytest.mark.parametrize(
    ("difference", "p", "higher_is_better", "expected"),
    [
        (0.1, 0.049, True, "better"),
        (-0.1, 0.049, True, "worse"),
        (-0.1, 0.049, False, "better"),
        (0.1, 0.05, True, "not shown"),
        (0.1, None, True, "not shown"),
        (None, None, True, "not shown"),
    ],
)
def test_verdict(difference, p, higher_is_better, expected):
    assert verdict(difference, p, higher_is_better=higher_is_better) == expected


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        (
            [0.01, 0.04, 0.03, 0.005],
            [0.03, 0.06, 0.06, 0.02],
        ),  # the textbook example of the step-down
        ([0.6, 0.6], [1.0, 1.0]),
        ([0.04], [0.04]),
        ([None, 0.02, None, 0.03], [None, 0.04, None, 0.04]),
        ([], []),
    ],
)
def test_holm(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)
