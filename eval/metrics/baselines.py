"""What no model is needed for: six simple forecasts on the same rows that a run is scored on."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eval.metrics.statistics import (
    clustered_share,
    detectable_effect,
    mean,
    paired_difference,
    verdict,
)
from weekahead.schema.metrics import BaselineComparisons, BaselineMetrics, Comparison
from weekahead.schema.rows import ScorableRow
from weekahead.task.labels import (
    BINS,
    LARGEST_NUMBER,
    direction_of,
    label_of_return,
    magnitude_of,
)

STATED_MAGNITUDE = 1.5
"""The size, in percent, that a baseline states if it knows only a direction: the middle of 1-2%."""


@dataclass(frozen=True)
class Prediction:
    """A forecast, or what came true: a direction in {-1, 0, 1} and a signed size in percent."""

    direction: int | None
    """None if it could not be read; 0 is neutral."""
    magnitude: float | None


def is_right(prediction: Prediction, truth: Prediction) -> bool:
    """Whether the direction came true.

    A neutral or unreadable prediction is wrong, because every week moves.
    """
    return prediction.direction in (-1, 1) and prediction.direction == truth.direction


LARGEST_SIZE = magnitude_of(BINS[-1])
"""The size of the outermost bin. Squared errors take no size beyond it, in either direction: one
"900 %" would own the mean, and no truth is further out."""


def squared_error(
    prediction: Prediction, truth: Prediction, *, capped: bool = True
) -> float | None:
    """The squared difference of the sizes, in squared percent; None if one of them is unknown.

    Both sizes are capped at LARGEST_SIZE, unless `capped` is false.
    """
    if prediction.magnitude is None or truth.magnitude is None:
        return None
    limit = LARGEST_SIZE if capped else math.inf
    sizes = [max(-limit, min(limit, size)) for size in (prediction.magnitude, truth.magnitude)]
    return (sizes[0] - sizes[1]) ** 2


def read_number(
    row: Mapping[str, object], key: str, smallest: float = -LARGEST_NUMBER
) -> float | None:
    """A number of a row; None if it is absent, null or NaN (which pandas writes for a missing one).

    Raises ValueError naming key and value for anything else that is not a number from `smallest`
    to LARGEST_NUMBER.
    """
    value = row.get(key)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {value!r:.60}; expected a number or null")
    if not smallest <= value <= LARGEST_NUMBER:
        bounds = f"{smallest:g} to {LARGEST_NUMBER:g}"
        raise ValueError(f"{key} is {value!r:.60}; expected a number from {bounds}, or null")
    return float(value)


def _stated(direction: int) -> Prediction:
    return Prediction(direction, direction * STATED_MAGNITUDE)


def _train_majority(row: ScorableRow) -> Prediction | None:
    value = row.get("train_majority")
    if value is None:
        return None
    if value in (-1, 1) and not isinstance(value, bool):
        return _stated(int(value))
    label = value.strip().lower() if isinstance(value, str) else ""
    if label in ("up", "down") or label in BINS:
        return _stated(1 if label.startswith("up") else -1)
    raise ValueError(f"train_majority is {value!r}; expected 1, -1, 'up', 'down', a label or null")


def _last_week(row: ScorableRow) -> Prediction | None:
    """Last week again: the bin of its return (0 is up, as in every label)."""
    value = read_number(row, "last_week_return")
    if value is None:
        return None
    label = label_of_return(value)
    return Prediction(direction_of(label), magnitude_of(label))


def _reversal(row: ScorableRow) -> Prediction | None:
    """The opposite of last week, with the same bin; a return of 0 counts as up."""
    before = _last_week(row)
    if before is None or before.direction is None or before.magnitude is None:
        return None
    return Prediction(-before.direction, -before.magnitude)


BASELINES: dict[str, Callable[[ScorableRow], Prediction | None]] = {
    "always_up": lambda _: _stated(1),
    "always_down": lambda _: _stated(-1),
    "train_majority": _train_majority,
    "last_week": _last_week,
    "reversal": _reversal,
    "zero_move": lambda _: Prediction(0, 0.0),
}
"""Name -> the prediction for one row, or None if the row lacks what it needs.

`train_majority` predicts for every row the direction that most training labels have. `last_week` is
momentum and `reversal` its opposite: together they show whether last week's move is informative at
all. `zero_move` states a size of 0 and no direction, so its bin_acc is 0: it is there for its
squared error alone.
"""
_NEEDS = {
    "train_majority": "train_majority",
    "last_week": "last_week_return",
    "reversal": "last_week_return",
}


class BaselinePredictions(NamedTuple):
    """What each baseline predicts for all rows."""

    predictions: dict[str, list[Prediction] | None]
    reasons: dict[str, str]
    """Why a baseline has none."""


def baseline_predictions(rows: Sequence[ScorableRow]) -> BaselinePredictions:
    """The predictions of each baseline for all rows.

    A baseline is None as a whole if one row lacks its input: otherwise it would be scored on part
    of the rows and compared with a run on all of them. Raises ValueError for an unreadable input.
    """
    predictions: dict[str, list[Prediction] | None] = {}
    reasons: dict[str, str] = {}
    for name, predict in BASELINES.items():
        answers = [predict(row) for row in rows]
        usable = [answer for answer in answers if answer is not None]
        predictions[name] = usable if usable and len(usable) == len(rows) else None
        if not rows:
            reasons[name] = "no row has a truth to compare with"
        elif predictions[name] is None:
            reasons[name] = f"{len(rows) - len(usable)} of {len(rows)} rows lack {_NEEDS[name]}"
    return BaselinePredictions(predictions, reasons)


def compare_with_baselines(
    *,
    rows: Sequence[ScorableRow],
    truths: Sequence[Prediction],
    hits: Sequence[float],
    weeks: Sequence[Hashable] | None,
) -> BaselineComparisons:
    """The baselines on these rows, and the run's direction accuracy minus each one's.

    `rows` are those with a truth. `hits` is whether the run predicted each direction right (of
    several seeds, the share that did). `weeks` are the clusters of the rows.
    """
    predictions, reasons = baseline_predictions(rows)
    baselines: dict[str, BaselineMetrics | None] = {}
    versus: dict[str, Comparison | None] = {}
    for name, answers in predictions.items():
        baselines[name] = versus[name] = None
        if answers is None:
            continue
        pairs = list(zip(answers, truths, strict=True))
        right = [is_right(answer, truth) for answer, truth in pairs]
        errors = [squared_error(answer, truth) for answer, truth in pairs]
        usable_errors = [error for error in errors if error is not None]
        share = clustered_share(right, weeks)
        states_direction = name != "zero_move"
        baselines[name] = {
            "bin_acc": share.mean,
            "bin_acc_ci95": share.interval if states_direction else None,
            "mse": mean(usable_errors),
            "mse_n": len(usable_errors),
            "n": len(rows),
        }
        if states_direction:
            versus[name] = versus_entry(list(map(float, hits)), list(map(float, right)), weeks)
    return {"baselines": baselines, "baseline_reasons": reasons, "versus": versus}


def versus_entry(
    ours: Sequence[float],
    theirs: Sequence[float],
    weeks: Sequence[Hashable] | None,
    *,
    higher_is_better: bool = True,
) -> Comparison:
    """One comparison on the same rows: the mean of ours minus theirs, and whether it is shown.

    `detectable_effect` is the smallest true difference that these weeks would have shown four times
    in five; it is what to read beside "not shown". The verdict is not corrected for the number of
    comparisons (see `eval.metrics.statistics.holm`).
    """
    estimate = paired_difference(ours, theirs, weeks)
    return {
        "difference": estimate.mean,
        "ci95": estimate.interval,
        "p": estimate.p,
        "verdict": verdict(estimate.mean, estimate.p, higher_is_better=higher_is_better),
        "corrected": False,
        "detectable_effect": detectable_effect(estimate),
        "n": estimate.n,
    }
