"""What no model is needed for: six simple forecasts on the very rows that a run is scored on."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics.statistics import (
    clustered_share,
    detectable_effect,
    mean,
    paired_difference,
    verdict,
)
from weekahead.files import Row
from weekahead.task.labels import BINS, direction_of, label_of_return, magnitude_of

STATED_MAGNITUDE = 1.5
"""What a baseline that knows only a direction states as size, in percent: the middle of 1-2%."""


@dataclass(frozen=True)
class Prediction:
    """A forecast, or what came true: a direction in {-1, 0, 1} and a signed size in percent."""

    direction: int | None
    """None where it could not be read; 0 is neutral."""
    magnitude: float | None


def is_right(call: Prediction, truth: Prediction) -> bool:
    """Whether the direction came true. Neutral and unreadable calls are wrong: every week moves."""
    return call.direction in (-1, 1) and call.direction == truth.direction


def squared_error(call: Prediction, truth: Prediction) -> float | None:
    """The squared distance of the sizes, in squared percent; None where one of them is unknown."""
    if call.magnitude is None or truth.magnitude is None:
        return None
    return (call.magnitude - truth.magnitude) ** 2


def read_number(row: Row, key: str) -> float | None:
    """A number of a row; None where it is absent, null or NaN (what pandas writes for a missing one).

    Raises ValueError naming key and value for anything else that is not a finite number.
    """
    value = row.get(key)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise ValueError(f"{key} is {value!r}; expected a finite number or null")
    return float(value)


def _stated(direction: int) -> Prediction:
    return Prediction(direction, direction * STATED_MAGNITUDE)


def _train_majority(row: Row) -> Prediction | None:
    value = row.get("train_majority")
    if value is None:
        return None
    if value in (-1, 1) and not isinstance(value, bool):
        return _stated(int(value))
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("up", "down") or word in BINS:
        return _stated(1 if word.startswith("up") else -1)
    raise ValueError(f"train_majority is {value!r}; expected 1, -1, 'up', 'down', a label or null")


def _last_week(row: Row) -> Prediction | None:
    """Last week again: the bin of its return (0 is up, as in every label)."""
    value = read_number(row, "last_week_return")
    if value is None:
        return None
    label = label_of_return(value)
    return Prediction(direction_of(label), magnitude_of(label))


def _reversal(row: Row) -> Prediction | None:
    """The opposite of last week: down after a rise (or a return of 0, which counts as up), by the same bin."""
    before = _last_week(row)
    if before is None or before.direction is None or before.magnitude is None:
        return None
    return Prediction(-before.direction, -before.magnitude)


BASELINES: dict[str, Callable[[Row], Prediction | None]] = {
    "always_up": lambda row: _stated(1),
    "always_down": lambda row: _stated(-1),
    "train_majority": _train_majority,
    "last_week": _last_week,
    "reversal": _reversal,
    "zero_move": lambda row: Prediction(0, 0.0),
}
"""Name -> the call for one row, or None where the row lacks what it needs.

`train_majority` says for every row the direction that most training labels have. `last_week` is momentum and
`reversal` its opposite: together they show whether last week's move says anything at all. `zero_move` states a
size of 0 and no direction, so its bin_acc is 0: it is there for its squared error alone.
"""
_NEEDS = {
    "train_majority": "train_majority",
    "last_week": "last_week_return",
    "reversal": "last_week_return",
}


def baseline_calls(
    rows: Sequence[Row],
) -> tuple[dict[str, list[Prediction] | None], dict[str, str]]:
    """The calls of each baseline for all rows, and why a baseline has none.

    A baseline is None as a whole when one row lacks its input: on part of the rows it would be compared
    with a run on all of them. Raises ValueError for an input that cannot be read.
    """
    calls: dict[str, list[Prediction] | None] = {}
    reasons: dict[str, str] = {}
    for name, call in BASELINES.items():
        made = [call(row) for row in rows]
        known = [one for one in made if one is not None]
        calls[name] = known if known and len(known) == len(rows) else None
        if not rows:
            reasons[name] = "no row has a truth to compare with"
        elif calls[name] is None:
            reasons[name] = f"{len(rows) - len(known)} of {len(rows)} rows lack {_NEEDS[name]}"
    return calls, reasons


def compare_with_baselines(
    *,
    rows: Sequence[Row],
    truths: Sequence[Prediction],
    hits: Sequence[float],
    weeks: Sequence[Hashable] | None,
) -> dict[str, Any]:
    """The `baselines`, `baseline_reasons` and `versus` of metrics.json.

    `rows` are those with a truth, `hits` whether the run called each one's direction right (of several seeds the
    share that did), `weeks` their clusters. `versus[name]` is the run's direction accuracy minus the baseline's on
    the same rows.
    """
    calls, reasons = baseline_calls(rows)
    baselines: dict[str, Any] = {}
    versus: dict[str, Any] = {}
    for name, made in calls.items():
        baselines[name] = versus[name] = None
        if made is None:
            continue
        right = [is_right(call, truth) for call, truth in zip(made, truths, strict=True)]
        errors = [squared_error(call, truth) for call, truth in zip(made, truths, strict=True)]
        known = [error for error in errors if error is not None]
        share = clustered_share(right, weeks)
        states_direction = name != "zero_move"
        baselines[name] = {
            "bin_acc": share.mean,
            "bin_acc_ci95": list(share.ci95) if share.ci95 and states_direction else None,
            "mse": mean(known),
            "mse_n": len(known),
            "n": len(rows),
        }
        if states_direction:
            versus[name] = versus_entry(list(map(float, hits)), list(map(float, right)), weeks)
    return {"baselines": baselines, "baseline_reasons": reasons, "versus": versus}


def versus_entry(
    ours: Sequence[float],
    theirs: Sequence[float],
    weeks: Sequence[Hashable] | None,
    higher_is_better: bool = True,
) -> dict[str, Any]:
    """One comparison on the same rows: the mean of ours minus theirs, and whether it is shown.

    `detectable_effect` is the smallest true difference these weeks would have shown four times in five:
    what stands beside "not shown". Not corrected for there being several (see `eval.metrics.statistics.holm`).
    """
    estimate = paired_difference(ours, theirs, weeks)
    return {
        "difference": estimate.mean,
        "ci95": list(estimate.ci95) if estimate.ci95 else None,
        "p": estimate.p,
        "verdict": verdict(estimate.mean, estimate.p, higher_is_better),
        "detectable_effect": detectable_effect(estimate),
        "n": estimate.n,
    }
