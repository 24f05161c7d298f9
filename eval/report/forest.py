"""Where values and intervals lie on a common axis, in percent of its width."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.skills import SkillResult
from eval.report.table import format_value

_MARGIN = 0.04
"""Of the axis on either side, so that no dot is cut."""
_TICKS = 4
"""About this many steps: more labels would meet on a phone."""
_LEAST = 0.05
"""An axis reaches at least so far on both sides: its ticks have two digits, and no noise looks
large."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on the axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """An axis that holds zero and every interval."""

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()

    def at(self, value: float) -> float:
        """The place of `value`: 0 is the left end, 100 the right one."""
        return 100 * (value - self.low) / (self.high - self.low)

    @property
    def zero(self) -> float:
        """The place of no skill."""
        return self.at(0.0)


@dataclass(frozen=True)
class Bar:
    """A value and its interval."""

    value: float
    low: float
    high: float
    """Equal to `low` if there is no interval."""


def axis_of(results: Sequence[SkillResult]) -> Axis | None:
    """The axis of all results that have a value; None if none has one."""
    from matplotlib.ticker import MaxNLocator

    ends: list[float] = []
    for result in results:
        if result.estimate.excess_accuracy is not None:
            ends += [result.estimate.excess_accuracy, *(result.estimate.ci95 or ())]
    if not ends:
        return None
    ends += [-_LEAST, 0.0, _LEAST]
    locator = MaxNLocator(nbins=_TICKS, min_n_ticks=2, steps=[1, 2, 4, 5, 10])
    values = [float(value) for value in locator.tick_values(min(ends), max(ends))]
    low, high = min(*values, *ends), max(*values, *ends)
    margin = _MARGIN * (high - low)
    axis = Axis(low - margin, high + margin)
    ticks = tuple(Tick(axis.at(value), signed(value, 2)) for value in values)
    return Axis(axis.low, axis.high, ticks)


def bar_of(result: SkillResult, axis: Axis) -> Bar | None:
    """The place of one result; None if it has no value."""
    value = result.estimate.excess_accuracy
    if value is None:
        return None
    low, high = result.estimate.ci95 or (value, value)
    return Bar(axis.at(value), axis.at(low), axis.at(high))


def signed(value: float, digits: int = 3) -> str:
    """A value with its sign; zero has none."""
    text = format_value(float(abs(value)), digits)
    if not float(text):
        return text
    return f"{'−' if value < 0 else '+'}{text}"
