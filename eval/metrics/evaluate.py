"""From rows of generated answers to metrics: pure functions, no files, no GPU.

Every share is over all rows that have a truth: an answer that cannot be read is wrong, not absent.
A number over fewer rows has its own n beside it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache

import numpy

from eval.metrics.baselines import (
    Prediction,
    compare_with_baselines,
    is_right,
    read_number,
    squared_error,
    versus_entry,
)
from eval.metrics.bin_baselines import bin_metrics
from eval.metrics.book import known_returns, long_short_book
from eval.metrics.breakdown import breakdown, class_metrics
from eval.metrics.fingpt_compatible import fingpt_metrics
from eval.metrics.firms import firms_of
from eval.metrics.judging import judge, skill_metrics
from eval.metrics.market_neutral import market_neutral_skill, rank_correlation
from eval.metrics.rouge import NOT_TOKENIZED, Rouge, mean_rouge, section_rouge
from eval.metrics.scored_answer import (
    SECTIONS,
    Scored,
    bin_of,
    check_scorable_rows,
    score_row,
)
from eval.metrics.secondary import unknown_mean
from eval.metrics.statistics import (
    clustered_share,
    design_effect,
    detectable_effect,
    mean,
)
from eval.metrics.text_quality import text_quality
from eval.metrics.weeks import Weeks, too_few_weeks, week_keys
from weekahead.schema.metrics import (
    AccuracyMetrics,
    AnswerMetrics,
    CountMetrics,
    DirectionMetrics,
    ErrorMetrics,
    Latency,
    RougeMetrics,
    SpeedMetrics,
    VerdictMetrics,
    WithinWeekMetrics,
)
from weekahead.schema.rows import RougeScores, ScorableRow, ScoredRow
from weekahead.task.prediction_reading import kind_of_failure

_DIRECTIONS = {1: "up", -1: "down", 0: "neutral", None: "unreadable"}
_NO_MOVE = Prediction(0, 0.0)
_SIZES_STATED = 0.5
"""Share of the answers that must state a size before their squared error is compared: a run that
states sizes on the rows it is sure of would seem to know them."""
_SHORTEST = 1e-9
"""Seconds: a clock shows less only if it stood still, and a speed would be without end."""


def evaluate(
    rows: Sequence[ScorableRow],
    knowledge_cutoff: date | None = None,
    rouge: Rouge = section_rouge,
    doubts: Sequence[str] = (),
    train_labels: Mapping[str, int] | None = None,
) -> tuple[AnswerMetrics, list[ScoredRow]]:
    """The metrics of `rows` and the rows of scored.jsonl, in the order of `rows`.

    `knowledge_cutoff` is the day up to which the base has read; by default the rows' own key
    counts. `doubts` are reasons not to judge the run that its rows do not tell. `train_labels` is
    bin -> training rows. Raises ValueError naming row and value for rows that cannot be read (see
    `check_scorable_rows`), and for labels that are no bins.
    """
    check_scorable_rows(rows)
    rouge = _cached(rouge)
    scored = [score_row(row, rouge) for row in rows]
    generations = [row["generation"] or "" for row in rows]
    references = [row["answer"] or "" for row in rows]
    metrics: AnswerMetrics = {
        **count_metrics(scored),
        **verdict_metrics(scored, doubts),
        **accuracy_metrics(scored, knowledge_cutoff, train_labels),
        "text_quality": text_quality(rows, [answer.answer for answer in scored]),
        **rouge_metrics(scored),
        **speed_metrics(rows),
        "fingpt_compatible": fingpt_metrics(
            generations=generations, references=references, rouge=rouge
        ),
    }
    return metrics, [answer.to_json() for answer in scored]


def _cached(rouge: Rouge) -> Rouge:
    """`rouge`, computed once per pair of texts.

    Upstream's reading cuts most answers into the same sections, except for white space around them,
    which ROUGE ignores.
    """
    cached = cache(rouge)
    return lambda reference, generation: cached(reference.strip(), generation.strip())


def count_metrics(scored: Sequence[Scored]) -> CountMetrics:
    """How many rows there are and how many of them can be read."""
    without_truth = [answer for answer in scored if answer.truth is None]
    synthetic = [answer for answer in scored if answer.row.get("synthetic") is True]
    valid_strict = [answer for answer in scored if answer.valid_strict]
    valid_lenient = [answer for answer in scored if answer.valid_lenient]
    reasons = _counts([kind_of_failure(answer.reason) for answer in scored])
    reasons_strict = _counts([answer.reason_strict for answer in scored])
    return {
        "n": len(scored),
        "n_no_truth": len(without_truth),
        "synthetic": bool(synthetic),
        "valid_strict": len(valid_strict),
        "valid_lenient": len(valid_lenient),
        "reasons": reasons,
        "reasons_strict": reasons_strict,
    }


def verdict_metrics(scored: Sequence[Scored], doubts: Sequence[str] = ()) -> VerdictMetrics:
    """Directional skill and the verdict on it, over the rows with a truth."""
    judged = judge(scored, doubts)
    return {
        "skill": skill_metrics(judged.skill),
        "verdict": judged.verdict,
        "verdict_scope": "run",
        "verdict_reasons": judged.reasons,
    }


def accuracy_metrics(
    scored: Sequence[Scored],
    knowledge_cutoff: date | None,
    train_labels: Mapping[str, int] | None,
) -> AccuracyMetrics:
    """Directions, bins, squared errors and the baselines, over the rows with a truth."""
    rows: list[ScorableRow] = []
    predictions: list[Prediction] = []
    truths: list[Prediction] = []
    for answer in scored:
        if answer.truth is not None:
            rows.append(answer.row)
            predictions.append(answer.prediction)
            truths.append(answer.truth)
    pairs = zip(predictions, truths, strict=True)
    hits = [is_right(prediction, truth) for prediction, truth in pairs]
    week_of_row = week_keys(rows)
    weeks, no_weeks, *_ = week_of_row
    share = clustered_share(hits, weeks)
    too_few = too_few_weeks(share.clusters)
    inflation = design_effect(share)
    interval_reason = no_weeks
    if weeks is not None and share.ci95 is None:
        interval_reason = too_few
    exact_hits = _exact_hits(predictions, truths)
    directions: DirectionMetrics = {
        "weeks": share.clusters or None,
        "interval_reason": interval_reason,
        "bin_acc": share.mean,
        "bin_acc_ci95": share.interval,
        "detectable_effect": detectable_effect(share),
        "design_effect": inflation,
        # A design effect under 1 is chance: rows are never worth more than their number.
        "effective_n": share.n / max(1.0, inflation) if inflation else None,
        "effective_n_reason": (
            None if inflation else interval_reason or "rows or weeks do not differ"
        ),
        "directions": _counts([_DIRECTIONS[prediction.direction] for prediction in predictions]),
        "bin12_acc": mean(exact_hits),
        "bin12_n": len(exact_hits),
        "classes": class_metrics(predictions, truths),
        "breakdown": breakdown(
            rows=rows,
            predictions=predictions,
            truths=truths,
            hits=hits,
            weeks=weeks,
            knowledge_cutoff=knowledge_cutoff,
        ),
    }
    return {
        **directions,
        **within_week_metrics(rows, predictions, truths, week_of_row),
        **bin_metrics(predictions, truths, weeks, train_labels),
        **error_metrics(predictions, truths, weeks),
        **compare_with_baselines(rows=rows, truths=truths, hits=hits, weeks=weeks),
    }


def within_week_metrics(
    rows: Sequence[ScorableRow],
    predictions: Sequence[Prediction],
    truths: Sequence[Prediction],
    weeks: Weeks,
) -> WithinWeekMetrics:
    """What the run tells apart within a week, and a book that follows its calls."""
    calls = [prediction.direction for prediction in predictions]
    directions = [truth.direction or 0 for truth in truths]
    skill = market_neutral_skill(calls, directions, weeks.keys, firms_of(rows), weeks.windows)
    returns, reason = known_returns(rows)
    if returns is None:
        return {
            "market_neutral_skill": skill,
            "rank_correlation": unknown_mean(reason or ""),
            "book": None,
            "book_reason": reason,
        }
    sizes = [prediction.magnitude for prediction in predictions]
    book, no_book = long_short_book(rows, calls, returns, weeks)
    return {
        "market_neutral_skill": skill,
        "rank_correlation": rank_correlation(sizes, returns, weeks.keys, weeks.windows),
        "book": book,
        "book_reason": no_book,
    }


def _exact_hits(predictions: Sequence[Prediction], truths: Sequence[Prediction]) -> list[float]:
    """Whether the bin is the true one, of each row whose truth has a bin."""
    bins = [
        (bin_of(prediction), bin_of(truth))
        for prediction, truth in zip(predictions, truths, strict=True)
    ]
    return [float(predicted == true) for predicted, true in bins if true is not None]


def error_metrics(
    predictions: Sequence[Prediction],
    truths: Sequence[Prediction],
    weeks: Sequence[str] | None,
) -> ErrorMetrics:
    """The squared error of the predictions that state a size, and of a move of 0 on the same rows.

    The comparison is the number to read: a mean over the rows that a model managed to answer
    compares with nothing else, least of all with the baselines' mean over all rows.
    """
    ours: list[float] = []
    uncapped: list[float] = []
    no_move: list[float] = []
    indices: list[int] = []
    for index, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        error, no_move_error = squared_error(prediction, truth), squared_error(_NO_MOVE, truth)
        as_said = squared_error(prediction, truth, capped=False)
        if error is not None and no_move_error is not None and as_said is not None:
            ours.append(error)
            uncapped.append(as_said)
            no_move.append(no_move_error)
            indices.append(index)
    reason = None
    if not ours:
        reason = "no answer states a size"
    elif len(ours) < _SIZES_STATED * len(truths):
        reason = f"{len(ours)} of {len(truths)} answers state a size: they are a choice of rows"
    errors: ErrorMetrics = {
        "mse": mean(ours),
        "mse_uncapped": mean(uncapped),
        "mse_n": len(ours),
        "mse_versus_zero_move": None,
        "mse_reason": reason,
    }
    if reason is None:
        error_weeks = [weeks[index] for index in indices] if weeks else None
        comparison = versus_entry(ours, no_move, error_weeks, higher_is_better=False)
        errors["mse_versus_zero_move"] = {
            "mse": mean(ours),
            "zero_move_mse": mean(no_move),
            **comparison,
        }
    return errors


def rouge_metrics(scored: Sequence[Scored]) -> RougeMetrics:
    """Mean F1 of each section over the rows whose reference has it; a missing section scores 0.

    Rows whose text ROUGE's tokenizer cannot keep are left out, counted in `rouge_reasons`. Beside
    it is the mean over the sections that were written, also in answers that were rejected: the
    first number mixes how often a model keeps the layout with how it writes.
    """
    positives = _section_scores(scored, "pros")
    concerns = _section_scores(scored, "cons")
    analyses = _section_scores(scored, "anal")
    written = {
        name: [score for answer in scored if (score := answer.rouge_written[name]) is not None]
        for name in SECTIONS
    }
    unread = {name: sum(name in answer.unread for answer in scored) for name in SECTIONS}
    return {
        "rouge_n": {"pros": len(positives), "cons": len(concerns), "anal": len(analyses)},
        "rouge_reasons": {
            name: f"{count} of {len(scored)} rows: {NOT_TOKENIZED}"
            for name, count in unread.items()
            if count
        },
        "pros_rouge_scores": mean_rouge(positives),
        "cons_rouge_scores": mean_rouge(concerns),
        "anal_rouge_scores": mean_rouge(analyses),
        "rouge_written": {name: mean_rouge(scores) for name, scores in written.items()},
        "rouge_written_n": {name: len(scores) for name, scores in written.items()},
    }


def _section_scores(scored: Sequence[Scored], section: str) -> list[RougeScores]:
    scores = [answer.rouge[section] for answer in scored]
    return [score for score in scores if score is not None]


def speed_metrics(rows: Sequence[ScorableRow]) -> SpeedMetrics:
    """Seconds, tokens and stops, each over the rows that state it, with its n.

    `seconds` is amortized over a batch. The latency is `latency_seconds` (of a request), or
    `seconds` if every row says `latency_measured`, which `eval.generate` writes at batch 1. A
    refused row took no time and is left out.
    """
    rows = [row for row in rows if row.get("finish_reason") != "refused"]
    seconds = _numbers(rows, "seconds")
    tokens = _numbers(rows, "new_tokens")
    finish_reasons = [row.get("finish_reason") for row in rows]
    stops = [float(reason == "stop") for reason in finish_reasons if reason is not None]
    latencies = _numbers(rows, "latency_seconds")
    if len(seconds) == len(rows) and all(row.get("latency_measured") is True for row in rows):
        latencies = seconds
    is_complete = len(seconds) == len(tokens) == len(rows) and sum(seconds) >= _SHORTEST
    return {
        "inference_seconds": mean(seconds),
        "inference_seconds_n": len(seconds),
        "latency": _latency(latencies) if latencies and len(latencies) == len(rows) else None,
        "stop_rate": mean(stops),
        "stop_rate_n": len(stops),
        "new_tokens": mean(tokens),
        "new_tokens_n": len(tokens),
        "tokens_per_second": sum(tokens) / sum(seconds) if is_complete else None,
    }


def _numbers(rows: Sequence[ScorableRow], key: str) -> list[float]:
    """The numbers of the rows that have one."""
    values = [read_number(row, key) for row in rows]
    return [value for value in values if value is not None]


def _latency(seconds: Sequence[float]) -> Latency:
    p50, p95 = (float(value) for value in numpy.percentile(seconds, [50, 95]))
    return {"mean": mean(seconds), "p50": p50, "p95": p95}


def _counts(values: Sequence[str | None]) -> dict[str, int]:
    """How often each value occurs, None left out; the most frequent first, then by name."""
    counts = Counter(value for value in values if value is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
