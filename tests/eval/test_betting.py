"""The bet on skill within weeks: worked by hand, fair without skill, the same at every look."""

import itertools
import math

import pytest

from eval.metrics.betting import (
    DIFFERENCES,
    LARGEST_STAKE,
    SHOWN,
    FirmCalls,
    bet_on_skill,
    week_skill,
)

UP, DOWN = 1, -1


def test_the_skill_of_a_week_worked_by_hand():
    """Of two called up one rose, of two called down none: a difference of one half."""
    week = week_skill(FirmCalls([UP, UP, DOWN, DOWN], [UP, DOWN, DOWN, DOWN]))
    assert week.skill == pytest.approx(1 / 3) and week.largest == pytest.approx(2 / 3)
    assert week.spread == 4


def test_the_largest_skill_is_reached():
    for k in range(2, 9):
        for m in range(1, k):
            calls = [UP] * m + [DOWN] * (k - m)
            assert math.isclose(*week_skill(FirmCalls(calls, calls))[:2])


@pytest.mark.parametrize("calls", [[UP], [UP, UP], [None, DOWN], [0, None], []])
def test_a_week_with_one_side_says_nothing(calls):
    week = FirmCalls(calls, [UP] * len(calls))
    assert week_skill(week) is None
    assert bet_on_skill([week]).capital.tolist() == [1.0]


def test_firms_without_a_call_are_no_firms_of_the_week():
    silent = FirmCalls([UP, None, DOWN, 0], [UP, UP, DOWN, DOWN])
    assert week_skill(silent) == week_skill(FirmCalls([UP, DOWN], [UP, DOWN]))


@pytest.mark.parametrize("rises", range(6))
def test_the_bet_is_fair_if_calls_know_nothing(rises):
    """Over all ways in which `rises` of five firms can rise the capital stays 1, in the mean."""
    calls, after = [UP, UP, DOWN, DOWN, DOWN], []
    for up in itertools.combinations(range(5), rises):
        truths = [UP if firm in up else DOWN for firm in range(5)]
        after.append(bet_on_skill([FirmCalls(calls, truths)]).capital[0])
    assert sum(after) / len(after) == pytest.approx(1, abs=1e-12)


def test_the_capital_worked_by_hand():
    """Two firms, both right: each bet on a difference d stakes 2 d, at most LARGEST_STAKE."""
    stakes = [min(2 * d, LARGEST_STAKE) for d in DIFFERENCES]
    twice = sum((1 + f) ** 2 + (1 - f) ** 2 for f in stakes) / (2 * len(DIFFERENCES))
    bet = bet_on_skill([FirmCalls([UP, DOWN], [UP, DOWN])] * 2)
    assert bet.capital[1] == pytest.approx(twice)
    assert bet.mean_skill == 1 and bet.weeks == 2 and bet.on_skill[1] > 0.5


def test_opposite_calls_bet_the_same_on_the_other_side():
    weeks = [FirmCalls([UP, DOWN, DOWN], [UP, UP, DOWN]), FirmCalls([DOWN, UP], [DOWN, UP])]
    against = [FirmCalls([-call for call in week.calls], week.truths) for week in weeks]
    ours, theirs = bet_on_skill(weeks), bet_on_skill(against)
    assert ours.capital == pytest.approx(theirs.capital)
    assert ours.on_skill == pytest.approx(1 - theirs.on_skill)


def test_no_week_changes_what_came_before_it():
    weeks = [FirmCalls([UP, DOWN, UP], [UP, DOWN, truth]) for truth in (UP, DOWN, DOWN, UP)]
    whole = bet_on_skill(weeks).capital
    for count in range(len(weeks) + 1):
        assert bet_on_skill(weeks[:count]).capital == pytest.approx(whole[:count])


def test_a_week_that_goes_wrong_is_survived():
    right = FirmCalls([UP, DOWN], [UP, DOWN])
    wrong = FirmCalls([UP, DOWN], [DOWN, UP])
    assert bet_on_skill([right] * 6 + [wrong] + [right] * 20).capital[-1] > SHOWN
