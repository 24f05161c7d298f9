"""Simulated worlds for the test of directional skill: its size without skill and its power.

A world has weeks of rows, one row per firm and week. Truths and calls are the signs of normal
variables: a part of each is shared by the rows of a week (and may persist from week to week), a
part by the rows of a firm, the rest is the row's own. Without skill calls and truths share nothing.
With skill, a call is right with the stated probability, whatever else holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from scipy.special import ndtri

from eval.metrics.skill import SkillEstimate, directional_skill, skill_difference
from eval.metrics.statistics import ALPHA, TYPICAL_ICC

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
    """Share of the variance of truths that the rows of a week have in common."""
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
    latent = week**0.5 * shared[:, None] + firm**0.5 * firms + (1 - week - firm) ** 0.5 * own
    return numpy.where(latent + ndtri(up) > 0, 1, -1)


def estimates(world: World, worlds: int, seed: int = 1) -> Iterator[SkillEstimate]:
    """The estimate of skill, or of its difference, in each of so many worlds."""
    draw = numpy.random.default_rng(seed)
    shape = (world.weeks, world.firms)
    weeks = numpy.repeat(numpy.arange(world.weeks), world.firms).tolist()
    firms = numpy.tile(numpy.arange(world.firms), world.weeks).tolist()
    for _ in range(worlds):
        truths = _signs(draw, world, world.up, world.week, world.firm)
        calls = _signs(draw, world, world.calls_up, world.call_week, world.call_firm)
        if world.accuracy is not None:
            calls = numpy.where(draw.random(shape) < world.accuracy, truths, -truths)
        silent = (truths == -1) & (draw.random(shape) < world.silent_if_down)
        calls = numpy.where(silent, 0, calls)
        flat, answers = truths.ravel().tolist(), calls.ravel().tolist()
        if world.base_calls_up is None:
            yield directional_skill(answers, flat, weeks, firms)
        else:
            base = _signs(draw, world, world.base_calls_up, world.call_week, world.call_firm)
            yield skill_difference(answers, base.ravel().tolist(), flat, weeks, firms)


def shares(world: World, worlds: int, seed: int = 1) -> tuple[float, float]:
    """The shares of the worlds with skill shown, and with negative skill shown."""
    found = [0, 0]
    for estimate in estimates(world, worlds, seed):
        if estimate.p is not None and estimate.p < ALPHA and estimate.excess_accuracy:
            found[estimate.excess_accuracy < 0] += 1
    return found[0] / worlds, found[1] / worlds
