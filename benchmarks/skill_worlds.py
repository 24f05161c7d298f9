"""Simulated worlds for the test of directional skill: its size without skill and its power.

A world has weeks of rows, one row per firm and week. Truths and calls are the signs of normal
variables: a part of each is shared by the rows of a week (and may persist from week to week), a
part by the rows of a firm, the rest is the row's own. The parts are such that the signs, and not
the normals behind them, have the stated correlations. Without skill calls and truths share nothing.
With skill, a call is right with the stated probability, whatever else holds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from scipy.special import ndtri

from eval.metrics.judging import rare_call, verdict_of
from eval.metrics.skill import SkillEstimate, directional_skill, skill_difference
from eval.metrics.statistics import ALPHA, TYPICAL_ICC, holm

Array = numpy.ndarray[Any, numpy.dtype[Any]]


@dataclass(frozen=True)
class World:
    """What the rows of a world are drawn from."""

    weeks: int = 10
    firms: int = 30
    up: float = 0.5
    """Share of truths that are up."""
    calls_up: float = 0.5
    week: float = TYPICAL_ICC
    """Correlation of two truths of a week, if half of them are up."""
    firm: float = 0.0
    """The same for the rows of a firm."""
    call_week: float = 0.0
    call_firm: float = 0.0
    persistence: float = 0.0
    """Autocorrelation from week to week of what a week's rows share, truths and calls alike."""
    silent_if_down: float = 0.0
    """Share of the rows without a call among those whose truth is down."""
    accuracy: float | None = None
    """Of a model with skill: each call is right with this probability."""
    base_calls_up: float | None = None
    """Call share of a second model; the test is then of the difference of the two."""


def settings() -> dict[str, World]:
    """Worlds without skill, by what is special about them."""
    worlds = {f"{weeks} weeks": World(weeks=weeks) for weeks in (6, 10, 26, 52, 104)}
    worlds |= {f"{up:.0%} of the weeks up": World(up=up) for up in (0.3, 0.4, 0.6)}
    worlds |= {f"{up:.0%} of the calls up": World(calls_up=up) for up in (0.02, 0.05, 0.1, 0.9)}
    worlds |= {f"icc {icc:g}": World(week=icc) for icc in (0, 0.3)}
    for weeks in (10, 52):
        special = {
            "calls of a week alike": World(call_week=0.3),
            "calls of a week alike, icc 0.3": World(week=0.3, call_week=0.3),
            "firms differ, calls half by firm": World(firm=0.1, call_firm=0.5),
            "firms differ, calls fixed by firm": World(firm=0.1, call_firm=0.99),
            "half of the falls unanswered": World(silent_if_down=0.5),
            "persistence 0.3, calls of a week alike": World(call_week=0.3, persistence=0.3),
            "persistence 0.9": World(persistence=0.9),
            "persistence 0.9, calls of a week alike": World(call_week=0.3, persistence=0.9),
            "tuned (50 % up) minus base (80 % up)": World(base_calls_up=0.8),
            "the same, 30 % of the weeks up": World(up=0.3, base_calls_up=0.8, call_week=0.3),
        }
        for name, world in special.items():
            worlds[f"{name}, {weeks} weeks"] = replace(world, weeks=weeks)
    return worlds


def powers() -> dict[str, World]:
    """Worlds of a model with skill."""
    return {
        f"right {accuracy:.0%}, {weeks} weeks": World(weeks=weeks, accuracy=accuracy)
        for accuracy in (0.55, 0.6)
        for weeks in (6, 10, 26, 52)
    }


def _signs(
    draw: numpy.random.Generator, world: World, up: float, week: float, firm: float
) -> Array:
    """An array of shape (weeks, firms) of 1 and -1."""
    shared = numpy.empty(world.weeks)
    shared[0] = draw.normal()
    innovations = draw.normal(size=world.weeks) * (1 - world.persistence**2) ** 0.5
    for number in range(1, world.weeks):
        shared[number] = world.persistence * shared[number - 1] + innovations[number]
    firms = draw.normal(size=world.firms)
    own = draw.normal(size=(world.weeks, world.firms))
    by_week, by_firm = _behind(week), _behind(firm)
    alone = 1 - by_week - by_firm
    latent = by_week**0.5 * shared[:, None] + by_firm**0.5 * firms + alone**0.5 * own
    return numpy.where(latent + ndtri(up) > 0, 1, -1)


def _behind(correlation: float) -> float:
    """The correlation of two normals whose signs have this one (Sheppard 1899)."""
    return float(numpy.sin(numpy.pi / 2 * correlation))


def draw_calls(draw: numpy.random.Generator, world: World) -> Array:
    """Calls (1, -1) that know nothing, of shape (weeks, firms)."""
    return _signs(draw, world, world.calls_up, world.call_week, world.call_firm)


def draw_world(draw: numpy.random.Generator, world: World) -> tuple[Array, Array]:
    """Truths (1, -1) and calls (1, -1; 0 is none) of one world, both of shape (weeks, firms)."""
    shape = (world.weeks, world.firms)
    truths = _signs(draw, world, world.up, world.week, world.firm)
    calls = draw_calls(draw, world)
    if world.accuracy is not None:
        calls = numpy.where(draw.random(shape) < world.accuracy, truths, -truths)
    silent = (truths == -1) & (draw.random(shape) < world.silent_if_down)
    return truths, numpy.where(silent, 0, calls)


def estimates(world: World, worlds: int, seed: int = 1) -> Iterator[SkillEstimate | None]:
    """The estimate of skill, or of its difference, in each of so many worlds.

    None if the rarer call is made too rarely to be judged.
    """
    draw = numpy.random.default_rng(seed)
    weeks: list[int] = numpy.repeat(numpy.arange(world.weeks), world.firms).tolist()
    firms = numpy.tile(numpy.arange(world.firms), world.weeks).tolist()
    for _ in range(worlds):
        truths, calls = draw_world(draw, world)
        flat, answers = truths.ravel().tolist(), calls.ravel().tolist()
        if rare_call(answers, weeks):
            yield None
        elif world.base_calls_up is None:
            yield directional_skill(answers, flat, weeks, firms)
        else:
            base = _signs(draw, world, world.base_calls_up, world.call_week, world.call_firm)
            yield skill_difference(answers, base.ravel().tolist(), flat, weeks, firms)


def shares(world: World, worlds: int, seed: int = 1) -> tuple[float, float]:
    """The shares of the worlds with skill shown, and with negative skill shown."""
    found = [0, 0]
    for estimate in estimates(world, worlds, seed):
        if estimate is None:
            continue
        if estimate.p is not None and estimate.p < ALPHA and estimate.excess_accuracy:
            found[estimate.excess_accuracy < 0] += 1
    return found[0] / worlds, found[1] / worlds


def page_shares(world: World, runs: int, worlds: int, seed: int = 1) -> tuple[float, float]:
    """Over pages of so many runs on the same rows, verdicts corrected for their number: the share
    with skill shown of any run without skill, and the share with skill shown of the first run,
    which alone has skill if the world states an accuracy.
    """
    draw = numpy.random.default_rng(seed)
    weeks: list[int] = numpy.repeat(numpy.arange(world.weeks), world.firms).tolist()
    firms: list[int] = numpy.tile(numpy.arange(world.firms), world.weeks).tolist()
    by_luck = by_skill = 0
    for _ in range(worlds):
        truths, first = draw_world(draw, world)
        others = [draw_calls(draw, world) for _ in range(runs - 1)]
        shown = _shown([first, *others], truths, weeks, firms)
        without_skill = shown if world.accuracy is None else shown[1:]
        by_luck += any(without_skill)
        by_skill += shown[0]
    return by_luck / worlds, by_skill / worlds


def _shown(
    calls: Sequence[Array], truths: Array, weeks: Sequence[int], firms: Sequence[int]
) -> list[bool]:
    """Whether skill is shown of each run of a page; the family is of those that are judged."""
    flat: list[int] = truths.ravel().tolist()
    answers: list[list[int]] = [called.ravel().tolist() for called in calls]
    found = [directional_skill(answer, flat, weeks, firms) for answer in answers]
    p_values = [
        None if rare_call(answer, weeks) else estimate.p
        for answer, estimate in zip(answers, found, strict=True)
    ]
    corrected = zip(holm(p_values), found, strict=True)
    return [verdict_of(one.excess_accuracy, p) == "skill shown" for p, one in corrected]
