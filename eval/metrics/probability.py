"""The probabilities of the twelve bins, from rows of likelihoods.jsonl to metrics: pure functions.

Intervals take weeks as independent units (`eval.metrics.statistics`).
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

from eval.metrics.baselines import versus_entry
from eval.metrics.bin_baselines import train_shares
from eval.metrics.perfect_calibration import perfect_calibration
from eval.metrics.probability_scores import (
    ReliabilityPoint,
    brier,
    calibration,
    direction_hits,
    expected_calibration_error,
    log_score,
    points_of_bins,
    rps,
)
from eval.metrics.statistics import (
    Estimate,
    clustered_mean,
    clustered_share,
    mean,
    skill_score,
)
from eval.metrics.weeks import too_few_weeks, week_keys
from weekahead.schema.metrics import (
    Agreement,
    AskedScores,
    BrierComparison,
    LikelihoodMetrics,
    Metrics,
    ProbabilityEntry,
    ProbabilityScores,
    RankedSkill,
)
from weekahead.schema.rows import (
    BinProbabilities,
    LikelihoodRow,
    RowProbabilities,
    ScorableRow,
    ScoredRow,
)
from weekahead.task.labels import BINS, direction_of

_NO_FILE = "no likelihoods.jsonl beside the answers; eval.likelihood writes it"
_NO_COMMON_ID = "no id of likelihoods.jsonl is among the answers"
_REQUIRED = ("id", "label", "probs", "logprobs", "up")


Question = Literal["own", "direct"]
"""What stands before the bins: the model's own answer, or nothing."""
QUESTIONS: dict[Question, str] = {"direct": "at once", "own": "after its answer"}
"""Question -> its words in tables and figures."""


class Pair(NamedTuple):
    """The probabilities of one row, and the direction that its generated answer predicts."""

    row: LikelihoodRow
    direction: int | None


def likelihood_metrics(
    rows: Sequence[ScorableRow],
    scored: Sequence[ScoredRow],
    likelihoods: Sequence[LikelihoodRow] | None,
    train_labels: Mapping[str, int] | None = None,
) -> LikelihoodMetrics:
    """The scores of the probabilities, or None and the reason.

    `rows` are the generated answers, `scored` their rows of scored.jsonl. `likelihoods` belong to
    `rows` by id and are None if there is no file. `train_labels` is bin -> training rows.
    `likelihood.own` and `likelihood.direct` each score one question: after the model's own answer,
    and at once. Raises ValueError for an id that comes twice, and for a label that differs from the
    answer's: those are likelihoods of another dataset.
    """
    if likelihoods is None:
        return {"likelihood": None, "likelihood_reason": _NO_FILE}
    by_id = _by_id(likelihoods)
    pairs: list[Pair] = []
    for row, answer in zip(rows, scored, strict=True):
        likelihood = by_id.get(row.get("id"))
        if likelihood is not None:
            _check_label(row, answer, likelihood)
            merged = cast("LikelihoodRow", {**row, **likelihood})
            pairs.append(Pair(merged, answer["direction"]))
    if not pairs:
        return {"likelihood": None, "likelihood_reason": _NO_COMMON_ID}
    own = [pair for pair in pairs if pair.row.get("prefix") == "own"]
    direct = [pair for pair in map(_at_once, pairs) if pair is not None]
    return {
        "likelihood": {
            **_scores(pairs, train_labels),
            "n_missing": len(rows) - len(pairs),
            "own": _scores(own, train_labels) if own else None,
            "direct": _scores(direct, train_labels) if direct else None,
        },
        "likelihood_reason": None,
    }


def _at_once(pair: Pair) -> Pair | None:
    """The row as it was asked at once; None if it was not."""
    row = pair.row
    probabilities = row.get("direct")
    if probabilities:
        return Pair(cast("LikelihoodRow", {**row, **probabilities, "prefix": "direct"}), pair[1])
    return pair if row.get("prefix") == "direct" else None


def _check_label(row: ScorableRow, answer: ScoredRow, likelihood: LikelihoodRow) -> None:
    """Raise ValueError if the two files state another label, or another direction."""
    label, stated = row.get("label"), likelihood["label"]
    truth = answer.get("truth_direction")
    if label is None and truth in (-1, 1) and truth != direction_of(stated):
        label = f"{'up' if truth == 1 else 'down'}, by its reference"
    elif label is None or label == stated:
        return
    raise ValueError(
        f"id {row.get('id')}: label {label!r}, but {stated!r} in likelihoods.jsonl; run "
        "eval.likelihood on the same rows"
    )


def _scores(pairs: Sequence[Pair], train_labels: Mapping[str, int] | None) -> AskedScores:
    """Every score of rows with probabilities, and how often they agree with the generated
    answer."""
    rows = [row for row, _ in pairs]
    directions = [direction for _, direction in pairs]
    return {
        **probability_metrics(rows, train_labels),
        "agreement": agreement(rows, directions),
    }


_ROUNDING = 1e-6
"""How far above 1 a probability may be that was computed in float32."""
_LARGEST_MASS = 1.25
"""Of the twelve texts: a server reads them one by one, and a logit of 16 to 32 is rounded to 0.125
in bf16, so that they may add up to a little more than 1."""
_APART = 1e-3
"""How far probabilities may be from the sum that they state: files round them."""


def with_probabilities(
    rows: Sequence[ScorableRow],
    scored: Sequence[ScoredRow],
    likelihoods: Sequence[LikelihoodRow],
) -> list[ScoredRow]:
    """The rows of scored.jsonl with the probabilities of `likelihoods`, which are found by id."""
    by_id = _by_id(likelihoods)
    columns = [_columns(by_id.get(row.get("id"))) for row in rows]
    pairs = zip(scored, columns, strict=True)
    return [cast("ScoredRow", {**answer, **more}) for answer, more in pairs]


def _columns(row: LikelihoodRow | None) -> RowProbabilities:
    asked = _at_once(Pair(row, None)) if row else None
    return {
        "up_probability": row["up"] if row else None,
        "direct_up_probability": asked.row["up"] if asked else None,
        "direct_rps": rps(asked.row["probs"], asked.row["label"]) if asked else None,
    }


def _by_id(likelihoods: Sequence[LikelihoodRow]) -> dict[str | int | None, LikelihoodRow]:
    by_id: dict[str | int | None, LikelihoodRow] = {}
    for number, row in enumerate(likelihoods, start=1):
        name = f"likelihoods.jsonl, row {number}"
        missing = [key for key in _REQUIRED if row.get(key) is None]
        if missing:
            raise ValueError(f"{name}: no {', '.join(missing)}; run eval.likelihood again")
        direct = row.get("direct")
        asked = [row["probs"], row["logprobs"]]
        asked += [direct.get("probs", {}), direct.get("logprobs", {})] if direct else []
        if any(set(bins) != set(BINS) for bins in asked):
            raise ValueError(f"{name}: its bins are not the twelve; run eval.likelihood again")
        fault = next(filter(None, map(_fault, [row, direct] if direct else [row])), None)
        if fault:
            raise ValueError(f"{name} (id {row['id']}): {fault}; run eval.likelihood again")
        if row["label"] not in BINS:
            raise ValueError(
                f"{name} (id {row['id']}): label is {row['label']!r}; expected one of the twelve "
                "bins; run eval.likelihood again"
            )
        if row["id"] in by_id:
            raise ValueError(f"{name}: the id {row['id']} came before; run eval.likelihood again")
        by_id[row["id"]] = row
    return by_id


def _fault(stated: BinProbabilities | LikelihoodRow) -> str | None:
    """What is no probability in a row, or in its answer at once; None if all are."""
    if stated.get("up") is None:
        return "no `up`"
    shares = {"up": stated["up"], **stated["probs"]}
    for name in ("mass", "train_up_share"):
        if (value := stated.get(name)) is not None:
            shares[name] = cast("float", value)
    for name, share in shares.items():
        largest = _LARGEST_MASS if name == "mass" else 1 + _ROUNDING
        if not 0 <= share <= largest:  # NaN is not
            return f"the probability of {name!r} is {share}; expected 0 to 1"
    for name, value in stated["logprobs"].items():
        if not -math.inf < value <= _ROUNDING:
            return f"the log-probability of {name!r} is {value}; expected a finite one, 0 or less"
    total = sum(stated["probs"].values())
    up = sum(share for name, share in stated["probs"].items() if direction_of(name) > 0)
    if abs(total - 1) > _APART or abs(up - stated["up"]) > _APART:
        return (
            f"its probabilities add up to {total:.4f}, those of up to {up:.4f}; expected 1 and its "
            f"`up` of {stated['up']}"
        )
    return None


def probability_metrics(
    rows: Sequence[LikelihoodRow], train_labels: Mapping[str, int] | None = None
) -> ProbabilityScores:
    """Every score of rows with `probs`, `logprobs`, `up` and `label`, each with n and interval."""
    weeks, interval_reason, *_ = week_keys(rows)
    ups = [row["up"] for row in rows]
    rose = [direction_of(row["label"]) > 0 for row in rows]
    squares = [brier(up, is_up) for up, is_up in zip(ups, rose, strict=True)]
    accuracy = clustered_share(direction_hits(ups, rose), weeks)
    if weeks is not None and accuracy.ci95 is None:
        interval_reason = too_few_weeks(accuracy.clusters)
    even = [brier(0.5, is_up) for is_up in rose]
    train_share = _train_share_squares(rows, rose)
    ranked = [rps(row["probs"], row["label"]) for row in rows]
    logs = [log_score(row["logprobs"], row["label"]) for row in rows]
    prefixes = [row.get("prefix") for row in rows]
    masses = [row.get("mass") for row in rows]
    bins = calibration(ups, rose)
    return {
        "n": len(rows),
        "interval_reason": interval_reason,
        "prefixes": dict(Counter(prefix for prefix in prefixes if prefix)),
        "mass": mean([mass for mass in masses if mass is not None]),
        "direction_accuracy": _entry(accuracy),
        "brier": _entry(clustered_mean(squares, weeks)),
        "brier_skill": {
            "even": _skill(squares, even),
            "train_share": _skill(squares, train_share),
        },
        "versus": {
            "even": _versus(squares, even, weeks),
            "train_share": _versus(squares, train_share, weeks),
        },
        "rps": _entry(clustered_mean(ranked, weeks)),
        "rps_skill": _ranked_skill(rows, ranked, weeks, train_labels),
        "log_score": _entry(clustered_mean(logs, weeks)),
        "calibration": bins,
        "ece": expected_calibration_error(bins),
        "ece_perfect": perfect_calibration(ups, weeks),
    }


def _ranked_skill(
    rows: Sequence[LikelihoodRow],
    ranked: Sequence[float],
    weeks: Sequence[Hashable] | None,
    train_labels: Mapping[str, int] | None,
) -> RankedSkill | None:
    """The skill of ranked probability scores over the train frequencies; None without them."""
    if train_labels is None:
        return None
    shares = train_shares(train_labels)
    reference = [rps(shares, row["label"]) for row in rows]
    estimate = skill_score(ranked, reference, weeks)
    return {
        "skill": estimate.mean,
        "ci95": estimate.interval,
        "train_frequencies": mean(reference),
        "n": len(rows),
        "weeks": estimate.clusters or None,
    }


def _train_share_squares(rows: Sequence[LikelihoodRow], rose: Sequence[bool]) -> list[float] | None:
    """The squared errors of the share of rises in training; None if a row does not state it."""
    stated = [row.get("train_up_share") for row in rows]
    shares = [share for share in stated if share is not None]
    if len(shares) < len(rows):
        return None
    return [brier(share, is_up) for share, is_up in zip(shares, rose, strict=True)]


def reliability_points(metrics: Metrics, question: Question) -> list[ReliabilityPoint]:
    """The calibration bins that have rows, of one question; empty without likelihoods.

    Answers of two questions are never in one bin: after its own answer a model is sure by
    construction.
    """
    likelihood = metrics["likelihood"]
    scores = likelihood[question] if likelihood else None
    return points_of_bins(scores["calibration"]) if scores else []


def agreement(rows: Sequence[LikelihoodRow], directions: Sequence[int | None]) -> Agreement:
    """How often the likelier direction is the generated one, over answers that state up or down."""
    stated = [
        (row["up"], direction == 1)
        for row, direction in zip(rows, directions, strict=True)
        if direction in (-1, 1)
    ]
    matches = direction_hits([up for up, _ in stated], [says_up for _, says_up in stated])
    return {"share": mean([float(match) for match in matches]), "n": len(stated)}


def _entry(estimate: Estimate) -> ProbabilityEntry:
    return {
        "mean": estimate.mean,
        "ci95": estimate.interval,
        "n": estimate.n,
        "weeks": estimate.clusters or None,
    }


def _skill(ours: Sequence[float], constant: Sequence[float] | None) -> float | None:
    """1 - Brier score / that of the constant; None without a constant, or if that is perfect."""
    reference = sum(constant) if constant else 0
    return 1 - sum(ours) / reference if reference else None


def _versus(
    ours: Sequence[float], constant: Sequence[float] | None, weeks: Sequence[Hashable] | None
) -> BrierComparison | None:
    """The Brier score minus that of the constant, on the same rows; None without a constant."""
    if constant is None:
        return None
    comparison = versus_entry(ours, constant, weeks, higher_is_better=False)
    return {"brier": mean(constant), **comparison}
