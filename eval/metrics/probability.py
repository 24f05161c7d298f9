"""What probabilities of the twelve bins are worth: pure functions from rows of likelihoods.jsonl to numbers.

All are proper scores, which a forecaster betters only by believing something truer, or parts of one. An
interval takes weeks as independent units (`eval.metrics.statistics`).
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from eval.metrics.baselines import versus_entry
from eval.metrics.scored_answer import week_keys
from eval.metrics.statistics import MIN_CLUSTERS, Estimate, clustered_mean, clustered_share, mean
from weekahead.files import Row
from weekahead.task.labels import BINS, direction_of

CALIBRATION_BINS = 10
_NO_FILE = "no likelihoods.jsonl beside the answers; eval.likelihood writes it"


def likelihood_metrics(
    rows: Sequence[Row], scored: Sequence[Row], found: Sequence[Row] | None
) -> Row:
    """The keys `likelihood` and `likelihood_reason` of metrics.json; the first is None where there is a reason.

    `rows` are the generated answers, `scored` their rows of scored.jsonl, `found` the likelihoods, None where
    there is no file. `likelihood.direct` is of what each row was asked without its own answer before. Rows of
    `found` get to `rows` by id. Raises ValueError for an id that comes twice, and for a label that is another one
    than the answer's: likelihoods of another dataset.
    """
    if found is None:
        return {"likelihood": None, "likelihood_reason": _NO_FILE}
    by_id = _by_id(found)
    pairs = [
        ({**row, **by_id[row["id"]]}, one["direction"])
        for row, one in zip(rows, scored, strict=True)
        if row.get("id") in by_id
    ]
    if not pairs:
        return {
            "likelihood": None,
            "likelihood_reason": "no id of likelihoods.jsonl is among the answers",
        }
    for row in rows:
        known = by_id.get(row.get("id"), {}).get("label")
        if row.get("label") is not None and known is not None and row["label"] != known:
            raise ValueError(
                f"id {row['id']}: label {row['label']!r}, but {known!r} in likelihoods.jsonl"
            )
    direct = [
        ({**row, **row["direct"], "prefix": "direct"}, call)
        for row, call in pairs
        if row.get("direct")
    ]
    return {
        "likelihood": {
            **_scores(pairs),
            "n_missing": len(rows) - len(pairs),
            "direct": _scores(direct) if direct else None,
        },
        "likelihood_reason": None,
    }


def _scores(pairs: Sequence[tuple[Row, int | None]]) -> Row:
    """Every score of rows with probabilities, and how often they call what the answer beside them calls."""
    rows, calls = [row for row, _ in pairs], [call for _, call in pairs]
    return {**probability_metrics(rows), "agreement": agreement(rows, calls)}


def up_probabilities(rows: Sequence[Row], found: Sequence[Row]) -> list[float | None]:
    """The probability of up for each of `rows`, by id; None where it is not known."""
    by_id = _by_id(found)
    return [by_id.get(row.get("id"), {}).get("up") for row in rows]


def _by_id(found: Sequence[Row]) -> dict[Any, Row]:
    by_id: dict[Any, Row] = {}
    for number, row in enumerate(found, start=1):
        place = f"likelihoods.jsonl, row {number}"
        if missing := [
            key for key in ("id", "label", "probs", "logprobs", "up") if row.get(key) is None
        ]:
            raise ValueError(f"{place}: no {', '.join(missing)}; run eval.likelihood again")
        if any(set(row[key]) != set(BINS) for key in ("probs", "logprobs")):
            raise ValueError(f"{place}: its bins are not the twelve; run eval.likelihood again")
        if row["id"] in by_id:
            raise ValueError(f"{place}: the id {row['id']} came before; run eval.likelihood again")
        by_id[row["id"]] = row
    return by_id


def probability_metrics(rows: Sequence[Row]) -> Row:
    """Every score of rows with `probs`, `logprobs`, `up` and `label`, each with its n and interval."""
    weeks, reason = week_keys(rows)
    ups = [row["up"] for row in rows]
    labels = [row["label"] for row in rows]
    rose = [direction_of(label) > 0 for label in labels]
    squares = [brier(up, one) for up, one in zip(ups, rose, strict=True)]
    shares = [row.get("train_up_share") for row in rows]
    accuracy = clustered_share(direction_hits(ups, rose), weeks)
    if weeks is not None and accuracy.ci95 is None:
        reason = f"{accuracy.clusters} weeks; an interval needs at least {MIN_CLUSTERS}"
    references = {"even": [0.5] * len(rows), "train_share": shares if None not in shares else None}
    return {
        "n": len(rows),
        "interval_reason": reason,
        "prefixes": dict(Counter(row["prefix"] for row in rows if row.get("prefix"))),
        "mass": mean([row["mass"] for row in rows if row.get("mass") is not None]),
        "direction_accuracy": _entry(accuracy),
        "brier": _entry(clustered_mean(squares, weeks)),
        "brier_skill": {
            name: _skill(squares, rose, constant) for name, constant in references.items()
        },
        "versus": {
            name: _versus(squares, rose, constant, weeks) for name, constant in references.items()
        },
        "rps": _entry(clustered_mean([rps(row["probs"], row["label"]) for row in rows], weeks)),
        "log_score": _entry(
            clustered_mean([log_score(row["logprobs"], row["label"]) for row in rows], weeks)
        ),
        "calibration": (bins := calibration(ups, rose)),
        "ece": expected_calibration_error(bins),
    }


def direction_hits(ups: Sequence[float], rose: Sequence[bool]) -> list[bool]:
    """Whether the likelier direction came true. An exact tie calls nothing and is wrong."""
    return [up != 0.5 and (up > 0.5) == one for up, one in zip(ups, rose, strict=True)]


def brier(up: float, rose: bool) -> float:
    """The squared distance of the probability of up from what came, 1 or 0 (Brier 1950): 0.25 for a coin."""
    return (up - rose) ** 2


def rps(probs: Mapping[str, float], label: str) -> float:
    """The ranked probability score of the bins in order, divided by their number less one: 0 best, 1 worst.

    The sum over bins of (forecast at or below it - truth at or below it) ** 2 (Epstein, Journal of Applied
    Meteorology 8, 1969, in the form of Murphy, same journal 10, 1971). Near misses cost less than far ones.
    """
    below, total = 0.0, 0.0
    for place, bin_ in enumerate(BINS[:-1]):
        below += probs[bin_]
        total += (below - (place >= BINS.index(label))) ** 2
    return total / (len(BINS) - 1)


def log_score(logprobs: Mapping[str, float], label: str) -> float:
    """The natural log of the true bin's probability among the twelve (Good 1952): 0 best, -2.48 for even odds.

    From log-probabilities, which do not have to add up to 1: a probability may be too small to stand as one.
    """
    largest = max(logprobs.values())
    return (
        logprobs[label]
        - largest
        - math.log(math.fsum(math.exp(value - largest) for value in logprobs.values()))
    )


def calibration(ups: Sequence[float], rose: Sequence[bool]) -> list[Row]:
    """Ten bins of the probability of up, equally wide: what was said in each and what came.

    A probability on a boundary is in the upper bin, 1 in the last. Of an empty bin the means are None.
    """
    bins = []
    for place in range(CALIBRATION_BINS):
        inside = [
            i
            for i, up in enumerate(ups)
            if min(int(up * CALIBRATION_BINS), CALIBRATION_BINS - 1) == place
        ]
        bins.append(
            {
                "low": place / CALIBRATION_BINS,
                "high": (place + 1) / CALIBRATION_BINS,
                "n": len(inside),
                "mean_p": mean([ups[i] for i in inside]),
                "share_up": mean([float(rose[i]) for i in inside]),
            }
        )
    return bins


def expected_calibration_error(bins: Sequence[Row]) -> float | None:
    """The mean distance of what was said from what came, a bin counting by its rows; None of no rows."""
    gaps = [bin_["n"] * abs(bin_["mean_p"] - bin_["share_up"]) for bin_ in bins if bin_["n"]]
    return sum(gaps) / sum(bin_["n"] for bin_ in bins) if gaps else None


def reliability_points(metrics: Row) -> list[tuple[float, float, int]]:
    """(mean probability of up, share that rose, rows) of each bin that has rows, from a whole metrics.json."""
    bins = (metrics.get("likelihood") or {}).get("calibration") or []
    return [(bin_["mean_p"], bin_["share_up"], bin_["n"]) for bin_ in bins if bin_["n"]]


def agreement(rows: Sequence[Row], directions: Sequence[int | None]) -> Row:
    """How often the likelier direction is the generated one, over rows whose answer states up or down."""
    both = [
        (row["up"], direction)
        for row, direction in zip(rows, directions, strict=True)
        if direction in (-1, 1)
    ]
    same = direction_hits([up for up, _ in both], [direction == 1 for _, direction in both])
    return {"share": mean([float(one) for one in same]), "n": len(both)}


def _entry(estimate: Estimate) -> Row:
    return {
        "mean": estimate.mean,
        "ci95": list(estimate.ci95) if estimate.ci95 else None,
        "n": estimate.n,
        "weeks": estimate.clusters or None,
    }


def _skill(
    squares: Sequence[float], rose: Sequence[bool], constant: Sequence[float] | None
) -> float | None:
    """1 - Brier score / that of the constant: above 0 is better than the constant; None where that is perfect."""
    reference = sum(brier(p, one) for p, one in zip(constant, rose, strict=True)) if constant else 0
    return 1 - sum(squares) / reference if reference else None


def _versus(
    squares: Sequence[float],
    rose: Sequence[bool],
    constant: Sequence[float] | None,
    weeks: Sequence[Hashable] | None,
) -> Row | None:
    """The Brier score minus that of the constant, on the same rows; None without a constant."""
    if constant is None:
        return None
    theirs = [brier(p, one) for p, one in zip(constant, rose, strict=True)]
    return {"brier": mean(theirs), **versus_entry(squares, theirs, weeks, higher_is_better=False)}
