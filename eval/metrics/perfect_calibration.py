"""What the calibration error would be if every stated probability were right.

It is never 0: in a tenth with few rows, or rows of few weeks, the share that rose misses the stated
probability by chance.
"""

from collections.abc import Hashable, Sequence

import numpy
from scipy.special import ndtri

from eval.metrics.probability_scores import CALIBRATION_BINS, calibration_bin
from eval.metrics.statistics import TYPICAL_ICC
from weekahead.schema.metrics import PerfectCalibration

_DRAWS = 1000
_SEED = 12
_NUMBERS_AT_ONCE = 1_000_000
_SHARED = float(numpy.sin(numpy.pi / 2 * TYPICAL_ICC))
"""Correlation of two normals whose signs have the correlation TYPICAL_ICC."""


def perfect_calibration(
    ups: Sequence[float], weeks: Sequence[Hashable] | None
) -> PerfectCalibration | None:
    """Mean and 95th percentile of the expected calibration error of simulated truths.

    Each row rises with its own probability of `ups`. Truths of a week are as alike as on the public
    rows (a Gaussian copula): what no forecaster could know moves all of them. Without weeks they
    are independent. The seed is fixed: the same rows give the same numbers. None without rows.
    """
    n = len(ups)
    if not n:
        return None
    draw = numpy.random.default_rng(_SEED)
    stated = numpy.clip(numpy.asarray(ups, dtype=float), 0, 1)  # a sum of shares may pass 1
    limits = ndtri(stated)
    _, codes = numpy.unique([calibration_bin(up) for up in ups], return_inverse=True)
    in_bin = numpy.eye(CALIBRATION_BINS)[codes]
    numbers = {week: number for number, week in enumerate(dict.fromkeys(weeks or ()))}
    week_of_row = [numbers[week] for week in weeks] if weeks else []
    errors: list[float] = []
    while len(errors) < _DRAWS:
        count = min(_DRAWS - len(errors), max(1, _NUMBERS_AT_ONCE // n))
        latent = draw.normal(size=(count, n))
        if weeks:
            luck = draw.normal(size=(count, len(numbers)))[:, week_of_row]
            latent = _SHARED**0.5 * luck + (1 - _SHARED) ** 0.5 * latent
        gaps = ((latent < limits) - stated) @ in_bin
        errors += (numpy.abs(gaps).sum(axis=1) / n).tolist()
    return {"mean": float(numpy.mean(errors)), "p95": float(numpy.percentile(errors, 95))}
