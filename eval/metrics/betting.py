"""A verdict on skill that may be looked at every week: a bet whose capital is an e-value.

A p of a fixed sample is right for one look that was planned. Who looks every week and stops at the
first p below 0.05 finds skill in more than a third of the forecasters that have none (simulated:
39 % over 260 weeks of eight firms). An e-value is the capital of a gambler who starts with 1 and
bets on skill, week by week, at odds that are fair if there is none: then it reaches 20 at any time
with a probability of at most 1/20 (Ville 1939; Ramdas et al., Statistical Science 38(4), 2023).

What is bet on is the skill of a week. With calls s and truths y in {-1, 1} of the k firms that a
week calls, and the means of that week,

    X = (1/(k - 1)) sum (s - mean s) (y - mean y) / 2

Its expected value is 0 if the calls do not know which of these firms will rise, whatever the market
does, so the weeks are a martingale. (The skill of eval.metrics.skill subtracts the means of the
whole run, which are not known before its end.) With m firms called up, X is at most

    B = 2 m (k - m) / (k (k - 1))

and X / B is the share that rose of those called up minus that of those called down. A bet on a true
difference d stakes the share f = 4 m (k - m) / k * d of its capital, which makes a small d grow
fastest (Kelly 1956), and at most LARGEST_STAKE: the week multiplies it by 1 + f X / B. The capital
is the mean over a grid of d on both sides (Waudby-Smith & Ramdas, Journal of the Royal Statistical
Society B 86(1), 2024, section 4.2), so that nothing need be chosen.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy

from eval.metrics.skill import Array
from eval.metrics.statistics import ALPHA, mean

DIFFERENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""The differences that are bet on, and their opposites."""
LARGEST_STAKE = 0.9
"""Of the capital: a week that goes wrong leaves a tenth."""
SHOWN = 1 / ALPHA
"""The e-value from which on skill is shown."""


class FirmCalls(NamedTuple):
    """The calls of one week (1, -1; anything else is no call) and what happened (1, -1)."""

    calls: Sequence[int | None]
    truths: Sequence[int]


class WeekSkill(NamedTuple):
    """The skill of a week, as the betting sees it."""

    skill: float
    """X."""
    largest: float
    """B."""
    spread: float
    """4 m (k - m) / k."""


class Bet(NamedTuple):
    """The capital after each week, and the part of it that was bet on positive skill."""

    capital: Array
    """(weeks,)."""
    on_skill: Array
    """(weeks,); 0 to 1."""
    mean_skill: float | None
    """The mean of X over the weeks that call both up and down; None without such a week."""
    weeks: int
    """How many these are."""


def week_skill(week: FirmCalls) -> WeekSkill | None:
    """The skill within a week; None without firms called up and firms called down."""
    pairs = [(s, y) for s, y in zip(week.calls, week.truths, strict=True) if s in (-1, 1)]
    k, m = len(pairs), sum(s == 1 for s, _ in pairs)
    if not 0 < m < k:
        return None
    s, y = (numpy.array(column, dtype=float) for column in zip(*pairs, strict=True))
    skill = float((s - s.mean()) @ (y - y.mean())) / (2 * (k - 1))
    return WeekSkill(skill, 2 * m * (k - m) / (k * (k - 1)), 4 * m * (k - m) / k)


def bet_on_skill(weeks: Sequence[FirmCalls]) -> Bet:
    """The capital of the bet on `weeks`, in the order of time. Each week sees those before it
    alone, so the capital of fewer weeks is the beginning of that of more."""
    found = [week_skill(week) for week in weeks]
    factors = numpy.array(list(_factors(found))).reshape(len(weeks), 2 * len(DIFFERENCES))
    capitals = factors.cumprod(axis=0)
    on_skill = capitals[:, : len(DIFFERENCES)].sum(axis=1)
    total = capitals.sum(axis=1)
    skills = [week.skill for week in found if week]
    return Bet(total / (2 * len(DIFFERENCES)), on_skill / total, mean(skills), len(skills))


def _factors(weeks: Sequence[WeekSkill | None]) -> Iterator[Array]:
    """What each week multiplies the capital of each bet by, first the bets on positive skill."""
    grid = numpy.array([*DIFFERENCES, *(-difference for difference in DIFFERENCES)])
    for week in weeks:
        if week is None:
            yield numpy.ones(len(grid))
        else:
            stakes = (grid * week.spread).clip(-LARGEST_STAKE, LARGEST_STAKE)
            yield 1 + stakes * week.skill / week.largest
