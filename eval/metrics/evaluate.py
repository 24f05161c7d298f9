"""Rows of generated answers to metrics: pure functions, no files, no GPU. The one home of every number.

Every share is over all rows that have a truth: an answer that cannot be read is wrong, not absent. Where
a number is over fewer rows, its own n stands beside it.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

import numpy

from eval.metrics.baselines import (
    Prediction,
    compare_with_baselines,
    is_right,
    read_number,
    squared_error,
    versus_entry,
)
from eval.metrics.breakdown import breakdown, class_metrics
from eval.metrics.fingpt_compatible import fingpt_metrics
from eval.metrics.rouge import section_rouge
from eval.metrics.scored_answer import (
    SECTIONS,
    Rouge,
    Scored,
    bin_of,
    check_rows,
    score_row,
    week_keys,
)
from eval.metrics.statistics import (
    MIN_CLUSTERS,
    clustered_share,
    design_effect,
    detectable_effect,
    mean,
)
from eval.metrics.text_quality import text_quality
from weekahead.files import Row


def evaluate(
    rows: Sequence[Row], knowledge_cutoff: date | None = None, rouge: Rouge = section_rouge
) -> tuple[Row, list[Row]]:
    """The content of metrics.json and the rows of scored.jsonl, in the order of `rows`.

    `knowledge_cutoff` is the day up to which the base has read; without it the rows' own key counts.
    Raises ValueError naming row and value for rows that cannot be read (see `check_rows`).
    """
    check_rows(rows)
    rouge = _once(rouge)
    scored = [score_row(row, rouge) for row in rows]
    metrics = {
        "n": len(rows),
        "n_no_truth": sum(one.truth is None for one in scored),
        "synthetic": any(row.get("synthetic") is True for row in rows),
        "valid_strict": sum(one.valid_strict for one in scored),
        "valid_lenient": sum(one.valid_lenient for one in scored),
        "reasons": _counts([one.reason for one in scored]),
        "reasons_strict": _counts([one.reason_strict for one in scored]),
        **_accuracy([one for one in scored if one.truth is not None], knowledge_cutoff),
        "text_quality": text_quality(rows, [one.answer for one in scored]),
        **_rouge(scored),
        **_speed(rows),
        "fingpt_compatible": fingpt_metrics(
            generations=[row["generation"] or "" for row in rows],
            references=[row["answer"] or "" for row in rows],
            rouge=rouge,
        ),
    }
    return metrics, [one.to_json() for one in scored]


def _once(rouge: Rouge) -> Rouge:
    """`rouge`, counting a pair of texts once: upstream's reading cuts most answers into the same sections.

    But for white space around them, which ROUGE does not see.
    """
    counted = cache(rouge)
    return lambda reference, generation: counted(reference.strip(), generation.strip())


def _accuracy(known: Sequence[Scored], knowledge_cutoff: date | None) -> Row:
    """Directions, bins, squared errors, breakdown and the baselines, over the rows with a truth."""
    rows, calls = [one.row for one in known], [one.call for one in known]
    truths = [one.truth for one in known if one.truth is not None]
    weeks, reason = week_keys(rows)
    hits = [is_right(call, truth) for call, truth in zip(calls, truths, strict=True)]
    share = clustered_share(hits, weeks)
    if weeks is not None and share.ci95 is None:
        reason = f"{share.clusters} weeks; an interval needs at least {MIN_CLUSTERS}"
    bins = [
        (bin_of(call), bin_of(truth))
        for call, truth in zip(calls, truths, strict=True)
        if bin_of(truth)
    ]
    deff = design_effect(share)
    words = {1: "up", -1: "down", 0: "neutral", None: "unreadable"}
    return {
        "weeks": share.clusters or None,
        "interval_reason": reason,
        "bin_acc": share.mean,
        "bin_acc_ci95": list(share.ci95) if share.ci95 else None,
        "detectable_effect": detectable_effect(share),
        "design_effect": deff,
        # Under 1 is chance: no number of weeks makes the rows worth more than they are.
        "effective_n": share.n / max(1.0, deff) if deff else None,
        "effective_n_reason": None if deff else reason or "rows or weeks do not differ",
        "directions": _counts([words[call.direction] for call in calls]),
        "bin12_acc": mean([float(called == true) for called, true in bins]),
        "bin12_n": len(bins),
        "classes": class_metrics(calls, truths),
        "breakdown": breakdown(rows, truths, hits, weeks, knowledge_cutoff),
        **_squared_errors(calls, truths, weeks),
        **compare_with_baselines(rows=rows, truths=truths, hits=hits, weeks=weeks),
    }


def _squared_errors(
    calls: Sequence[Prediction], truths: Sequence[Prediction], weeks: Sequence[str] | None
) -> Row:
    """`mse` over the calls that state a size, and against a move of 0 on those same rows.

    The second is the one to read: a mean over the rows a model managed to answer compares with nothing
    else, least of all with the baselines' mean over all rows.
    """
    still = Prediction(0, 0.0)
    pairs = [
        (ours, theirs, place)
        for place, (call, truth) in enumerate(zip(calls, truths, strict=True))
        if (ours := squared_error(call, truth)) is not None
        and (theirs := squared_error(still, truth)) is not None
    ]
    if not pairs:
        return {"mse": None, "mse_n": 0, "mse_versus_zero_move": None}
    ours, theirs, places = zip(*pairs, strict=True)
    against = versus_entry(
        ours, theirs, weeks and [weeks[i] for i in places], higher_is_better=False
    )
    return {
        "mse": mean(ours),
        "mse_n": len(ours),
        "mse_versus_zero_move": {"mse": mean(ours), "zero_move_mse": mean(theirs), **against},
    }


def _rouge(scored: Sequence[Scored]) -> Row:
    """Mean F1 of each section over all rows whose reference has it; nothing generated counts as 0."""
    result: Row = {"rouge_n": {}}
    for name in SECTIONS:
        scores = [one.rouge[name] for one in scored]
        known = [score for score in scores if score is not None]
        result["rouge_n"][name] = len(known)
        result[f"{name}_rouge_scores"] = (
            {k: mean([s[k] for s in known]) for k in known[0]} if known else None
        )
    return result


def _speed(rows: Sequence[Row]) -> Row:
    """Seconds, tokens and stops, each over the rows that state it, with its n.

    `seconds` is amortized over a batch. The latency is `latency_seconds` (of a request), and `seconds` where
    every row says `latency_measured`, which `eval.generate` writes at batch 1. A refused row took no time.
    """
    rows = [row for row in rows if row.get("finish_reason") != "refused"]
    seconds = [value for row in rows if (value := read_number(row, "seconds")) is not None]
    tokens = [value for row in rows if (value := read_number(row, "new_tokens")) is not None]
    stops = [row["finish_reason"] == "stop" for row in rows if row.get("finish_reason") is not None]
    waits = [value for row in rows if (value := read_number(row, "latency_seconds")) is not None]
    if len(seconds) == len(rows) and all(row.get("latency_measured") is True for row in rows):
        waits = seconds
    both = len(seconds) == len(tokens) == len(rows) and sum(seconds) > 0
    return {
        "inference_seconds": mean(seconds),
        "inference_seconds_n": len(seconds),
        "latency": _latency(waits) if waits and len(waits) == len(rows) else None,
        "stop_rate": mean([float(stop) for stop in stops]),
        "stop_rate_n": len(stops),
        "new_tokens": mean(tokens),
        "new_tokens_n": len(tokens),
        "tokens_per_second": sum(tokens) / sum(seconds) if both else None,
    }


def _latency(seconds: Sequence[float]) -> dict[str, Any]:
    p50, p95 = (float(value) for value in numpy.percentile(seconds, [50, 95]))
    return {"mean": mean(seconds), "p50": p50, "p95": p95}


def _counts(values: Sequence[str | None]) -> dict[str, int]:
    """How often each value that is not None stands there, the most frequent first, then by name."""
    counts = Counter(value for value in values if value is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
