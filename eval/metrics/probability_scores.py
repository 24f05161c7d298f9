"""Scores of a single probability forecast, and their calibration.

All are proper scores, or parts of one: a forecaster improves them only by stating what it believes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eval.metrics.statistics import mean
from weekahead.schema.metrics import CalibrationBin
from weekahead.task.labels import BINS

CALIBRATION_BINS = 10


class ReliabilityPoint(NamedTuple):
    """A calibration bin that has rows."""

    stated: float
    """The mean probability of up."""
    rose: float
    """The share that rose."""
    n: int


def direction_hits(ups: Sequence[float], rose: Sequence[bool]) -> list[bool]:
    """Whether the likelier direction came true. An exact tie predicts nothing and is wrong."""
    return [up != 0.5 and (up > 0.5) == is_up for up, is_up in zip(ups, rose, strict=True)]


def brier(up: float, rose: float) -> float:
    """The squared difference of the probability of up and what happened (Brier 1950).

    `rose` is 1 or 0. A coin gets 0.25.
    """
    return (up - rose) ** 2


def rps(probs: Mapping[str, float], label: str) -> float:
    """The ranked probability score over the ordered bins, divided by their number less one.

    0 is best, 1 worst. It is the sum over bins of (forecast at or below it - truth at or below it)
    ** 2 (Epstein, Journal of Applied Meteorology 8, 1969, in the form of Murphy, same journal 10,
    1971). Near misses cost less than far ones.
    """
    forecast_below, total = 0.0, 0.0
    true_index = BINS.index(label)
    for index, name in enumerate(BINS[:-1]):
        forecast_below += probs[name]
        total += (forecast_below - (index >= true_index)) ** 2
    return total / (len(BINS) - 1)


def expected_distance(probs: Mapping[str, float], label: str) -> float:
    """The distance in bins from the true one that a draw from `probs` has on average."""
    true_index = BINS.index(label)
    return math.fsum(probs[name] * abs(index - true_index) for index, name in enumerate(BINS))


def log_score(logprobs: Mapping[str, float], label: str) -> float:
    """The natural log of the true bin's probability among the twelve (Good 1952).

    0 is best, -2.48 is what equal probabilities get. It is computed from log-probabilities, which
    need not add up to 1, because a probability may be too small for a float.
    """
    largest = max(logprobs.values())
    total = math.fsum(math.exp(value - largest) for value in logprobs.values())
    return logprobs[label] - largest - math.log(total)


def calibration_bin(up: float) -> int:
    """The number of the bin of a probability, from 0."""
    return min(int(up * CALIBRATION_BINS), CALIBRATION_BINS - 1)


def calibration(ups: Sequence[float], rose: Sequence[bool]) -> list[CalibrationBin]:
    """Ten bins of the probability of up, equally wide: what was stated in each and what happened.

    A probability on a boundary is in the upper bin, 1 in the last. The means of an empty bin are
    None.
    """
    bin_of_row = [calibration_bin(up) for up in ups]
    bins: list[CalibrationBin] = []
    for number in range(CALIBRATION_BINS):
        rows = [index for index, row_bin in enumerate(bin_of_row) if row_bin == number]
        bins.append(
            {
                "low": number / CALIBRATION_BINS,
                "high": (number + 1) / CALIBRATION_BINS,
                "n": len(rows),
                "mean_p": mean([ups[index] for index in rows]),
                "share_up": mean([float(rose[index]) for index in rows]),
            }
        )
    return bins


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """The mean difference of what was stated and what happened, a bin counting by its rows.

    None without rows.
    """
    points = points_of_bins(bins)
    if not points:
        return None
    gaps = [point.n * abs(point.stated - point.rose) for point in points]
    return sum(gaps) / sum(point.n for point in points)


def points_of_bins(bins: Sequence[CalibrationBin]) -> list[ReliabilityPoint]:
    return [
        ReliabilityPoint(part["mean_p"], part["share_up"], part["n"])
        for part in bins
        if part["mean_p"] is not None and part["share_up"] is not None
    ]
