"""Intervals and verdicts in a thousand made worlds of ten weeks: as honest as they say they are."""

import numpy
import pytest

from benchmarks.skill_worlds import World, page_shares, shares
from benchmarks.statistics import SIZES, WEEKS, coverage, simulate_hits, verdicts
from eval.metrics.statistics import TYPICAL_ICC, planned_skill

WORLDS = 1000
SAMPLING_ERROR = 1.64 * (0.05 * 0.95 / WORLDS) ** 0.5  # of a true rate of 5 %, one-sided 95 %


def test_made_weeks_have_the_stated_accuracy_and_correlation():
    hits = simulate_hits(1, 4000, WEEKS, [0.5, 0.8]).astype(float)
    assert hits.mean(axis=(1, 2)) == pytest.approx([0.5, 0.8], abs=0.005)
    weekly = hits.reshape(2, 4000, 10, 30).mean(axis=3)
    for accuracy, means in zip((0.5, 0.8), weekly, strict=True):
        variance = accuracy * (1 - accuracy)
        icc = (
            means.var() / variance * 30 - 1
        ) / 29  # var of a week's mean: variance * (1 + 29 icc) / 30
        assert icc == pytest.approx(TYPICAL_ICC, abs=0.01)
    # What both share of the weeks: nearly SHARED_LUCK of the variance between weeks, none of that
    # within.
    shared = numpy.corrcoef(weekly[0].ravel(), weekly[1].ravel())[0, 1]
    assert 0.5 < shared < 0.8


@pytest.mark.parametrize("accuracy", [0.5, 0.6, 0.7, 0.8])
def test_intervals_cover_95_percent(accuracy):
    assert 0.93 <= coverage(11, WORLDS, WEEKS, accuracy) <= 0.97


@pytest.mark.parametrize("name", ["6 weeks of 30", "20 weeks of 30", "10 weeks of 5 to 70"])
def test_intervals_cover_with_few_many_and_unequal_weeks(name):
    assert 0.93 <= coverage(12, WORLDS, SIZES[name], 0.55) <= 0.97


def test_a_week_with_most_rows_makes_the_interval_wide():
    assert 0.95 <= coverage(12, WORLDS, SIZES["9 weeks of 10, one of 210"], 0.55) <= 0.985


def test_intervals_near_1_are_slightly_narrow():
    assert 0.92 <= coverage(13, WORLDS, WEEKS, 0.9) <= 0.97
    assert (
        0.90 <= coverage(13, WORLDS, WEEKS, 0.95) <= 0.95
    )  # the symmetrical interval covered 0.85


@pytest.mark.parametrize("accuracy", [0.5, 0.55, 0.8])
@pytest.mark.parametrize("name", ["10 weeks of 30", "6 weeks of 30", "10 weeks of 5 to 70"])
def test_worlds_without_an_effect_seldom_get_a_verdict(name, accuracy):
    said = verdicts(14, WORLDS, SIZES[name], accuracy, accuracy)
    assert said["better"] + said["worse"] <= 0.05 + SAMPLING_ERROR
    assert said["better"] > 0 < said["worse"]  # nor is the test asleep


def test_a_large_effect_is_found():
    assert verdicts(15, WORLDS, WEEKS, 0.8, 0.52)["better"] >= 0.8


def test_what_was_planned_is_found_four_times_in_five():
    shown, negative = shares(World(accuracy=0.5 + planned_skill(WEEKS)), 300)
    assert 0.8 <= shown <= 0.97 and negative == 0, "planned for calls of a week that are alike"
    exact = World(accuracy=0.5 + planned_skill(WEEKS, icc=0))
    assert 0.72 <= shares(exact, 300)[0] <= 0.87, "the largest of three errors costs a little"


def test_a_page_of_ten_runs_seldom_shows_luck():
    by_luck, by_skill = page_shares(World(weeks=26, accuracy=0.6), 10, 40)
    assert by_luck <= 0.1 and by_skill >= 0.9
    by_luck, first = page_shares(World(), 10, 60)
    assert first <= by_luck <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
