"""Directional skill by hand, its error's floors, and the verdict on adversarial rows."""

import math

import numpy
import pytest
from scipy.stats import fisher_exact

from benchmarks.skill_worlds import World, shares
from benchmarks.statistics import power_at_detectable
from eval.metrics.skill import (
    Error,
    SkillEstimate,
    detectable_skill,
    directional_skill,
    errors_of_mean,
    mean_with_error,
    skill_difference,
    skill_values,
)
from eval.metrics.statistics import clustered_mean

TRUTHS = [1, 1, -1, -1, 1, -1, 1, -1] * 6
WEEKS = [number // 4 for number in range(48)]


def coin(seed, n=48):
    return numpy.random.default_rng(seed).choice([-1, 1], n).tolist()


def test_skill_by_hand():
    """Four of six right with three calls up and four truths up: chance hits one half."""
    calls, truths = [1, 1, 1, -1, -1, -1], [1, 1, 1, 1, -1, -1]
    by_chance = 0.5 * 4 / 6 + 0.5 * 2 / 6
    assert skill_values(calls, truths).mean() == pytest.approx(5 / 6 - by_chance)


def test_silence_adds_nothing_and_is_no_call():
    """The means are over the rows with a call; the sum is over all rows."""
    calls, truths = [1, 1, -1, -1, None, 0], [1, -1, -1, -1, 1, 1]
    values = skill_values(calls, truths)
    assert values[4:].tolist() == [0, 0]
    assert values.sum() == pytest.approx(skill_values(calls[:4], truths[:4]).sum())


def test_a_caller_of_one_direction_has_none():
    estimate = directional_skill([1] * 48, TRUTHS, WEEKS)
    assert (estimate.excess_accuracy, estimate.p, estimate.ci95) == (0, None, None)
    assert estimate.up_share == 1 and estimate.truth_up_share == 0.5


def test_p_and_interval_agree():
    for seed in range(200):
        estimate = directional_skill(coin(seed), TRUTHS, WEEKS)
        low, high = estimate.ci95
        assert (estimate.p < 0.05) == (low > 0 or high < 0)


def test_the_error_is_never_below_that_of_independent_rows():
    values = numpy.array([0.5, -0.5] * 24)  # every week cancels out
    by_week, rows = errors_of_mean(values, numpy.array(WEEKS), None)
    assert by_week.size == 0
    alone = clustered_mean(values.tolist(), range(48))
    assert (rows.size, rows.freedom) == pytest.approx((alone.standard_error, 47))


def test_rows_of_a_firm_count_as_related_from_five_firms_on():
    """Cameron, Gelbach and Miller: by week plus by firm minus by both; min(6, 8) - 1 freedom."""
    firms, weeks = numpy.tile(numpy.arange(8), 6), numpy.repeat(numpy.arange(6), 8)
    values = numpy.where(firms < 4, 0.4, -0.2) + 0.01 * weeks
    by_week, rows, both = errors_of_mean(values, weeks, firms)
    by_firm = clustered_mean(values.tolist(), firms.tolist()).standard_error
    assert both.size == pytest.approx(math.sqrt(by_week.size**2 + by_firm**2 - rows.size**2))
    assert both.freedom == 5 and both.size > rows.size
    assert len(errors_of_mean(values, weeks, firms % 4)) == 2


def test_few_rows_take_the_exact_test():
    calls = [1, 1, 1, -1, -1, -1]
    estimate = directional_skill(calls, calls, range(6))
    assert estimate.p == pytest.approx(fisher_exact([[3, 0], [0, 3]]).pvalue)  # 0.1
    assert estimate.ci95[0] < 0


def test_weeks_that_do_not_differ_take_the_sign_test():
    estimate = directional_skill([1, -1] * 14, [1, -1] * 14, [n // 4 for n in range(28)])
    assert estimate.p == pytest.approx(2 * 0.5**7) and estimate.ci95[0] > 0


def test_an_interval_and_its_p_agree_also_where_an_exact_test_decides():
    """Few calls against the rest: p near 1 gives no interval over the whole axis."""
    rng = numpy.random.default_rng(0)
    decided = 0
    for _ in range(300):
        calls = numpy.where(rng.random(64) < 0.12, -1, 1)
        truths = numpy.where(rng.random(64) < 0.5, 1, -1)
        estimate = directional_skill(calls.tolist(), truths.tolist(), [n // 4 for n in range(64)])
        if estimate.p is None:
            continue
        low, high = estimate.ci95
        assert (estimate.p < 0.05) == (low > 0 or high < 0)
        assert high - low < 0.6
        decided += estimate.error is None
    assert decided > 100


def test_five_weeks_are_too_few():
    estimate = directional_skill(coin(1, 20), TRUTHS[:20], WEEKS[:20])
    assert estimate.excess_accuracy is not None and estimate.p is None


def test_a_difference_is_of_the_same_rows():
    ours, theirs = coin(1), coin(2)
    estimate = skill_difference(ours, theirs, TRUTHS, WEEKS)
    apart = [directional_skill(calls, TRUTHS, WEEKS).excess_accuracy for calls in (ours, theirs)]
    assert estimate.excess_accuracy == pytest.approx(apart[0] - apart[1])
    assert skill_difference(ours, ours, TRUTHS, WEEKS).p is None


def test_lengths_must_be_equal():
    with pytest.raises(ValueError, match="differ in length"):
        directional_skill([1], [1, -1], None)


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(up=0.3),
        World(calls_up=0.9),
        World(week=0.3, call_week=0.3),
        World(firm=0.1, call_firm=0.9),
        World(silent_if_down=0.5),
        World(base_calls_up=0.8),
    ],
)
def test_without_skill_it_is_rarely_shown(world):
    """Both signs together, over 200 worlds: three standard errors above 5 %."""
    assert sum(shares(world, 200)) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_sixty_percent_of_ten_weeks_are_shown():
    shown, negative = shares(World(accuracy=0.6), 200)
    assert shown >= 0.75 and negative == 0


def test_detectable_skill_by_hand():
    """Ten weeks: t 2.262; the noncentral t exceeds it in 80 % of the cases around 3.150."""
    estimate = SkillEstimate(0.0, (-0.1, 0.1), 1.0, 300, 10, 0.5, 0.5, Error(0.03, 9.0))
    assert detectable_skill(estimate) == pytest.approx(0.03 * 3.150, abs=1e-4)
    ten = detectable_skill(estimate, tests=10)
    assert ten == pytest.approx(0.03 * 4.693, abs=1e-4), "p below 0.005: t 3.690"
    assert detectable_skill(estimate, tests=20) > ten


@pytest.mark.parametrize("tests", [1, 10])
def test_detectable_skill_is_shown_four_times_in_five(tests):
    """A model with the skill that worlds without skill call detectable, at alpha / tests."""
    skill, shown = power_at_detectable(World(), tests, 600)
    assert 0 < skill < 0.2 and 0.76 <= shown <= 0.87


def test_what_exact_tests_decide_has_no_detectable_skill():
    """Their p stands for no error of the mean, and an interval never leaves what is possible."""
    few = directional_skill([1, 1, 1, -1, -1, -1, 1], [1, -1, 1, -1, 1, -1, -1], range(7))
    assert few.p == pytest.approx(1) and -1 < few.ci95[0] < 0 < few.ci95[1] < 1
    alike = directional_skill([1, -1] * 14, [1, -1] * 14, [n // 4 for n in range(28)])
    constant = directional_skill([1] * 48, TRUTHS, WEEKS)
    five_weeks = directional_skill(coin(1, 20), TRUTHS[:20], WEEKS[:20])
    for estimate in (few, alike, constant, five_weeks):
        assert detectable_skill(estimate) is None


def test_seeds_that_differ_make_the_detectable_skill_larger():
    values = skill_values(coin(1), TRUTHS)
    estimate = directional_skill(coin(1), TRUTHS, WEEKS)
    noisy = mean_with_error(estimate, values, WEEKS, None, more=Error(0.1, 2))
    assert detectable_skill(noisy) > detectable_skill(estimate)
