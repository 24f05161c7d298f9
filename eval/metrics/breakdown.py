"""Where a run is right and where it is wrong: direction accuracy by symbol, sector, week, size and cut-off."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from math import sqrt
from pathlib import Path
from typing import Any

from eval.metrics.baselines import Prediction
from eval.metrics.scored_answer import bin_of, week_start
from eval.metrics.statistics import clustered_share, mean
from eval.metrics.text_quality import prompt_text
from weekahead.files import Row
from weekahead.recipe import read_cutoff
from weekahead.task.labels import BINS, label_of_magnitude

_OWN_GROUP = ("0-1%", "1-2%", "more than 5%")
_MIDDLE = "2-5%"
_SECTOR = re.compile(
    r"^\[Company\]: [^\n]*\), (?:an? )?(?P<ours>[^\n]+?)(?: company)?\.$"
    r"|is a leading entity in the (?P<public>[^\n]{1,80}?) sector\b",
    re.MULTILINE,
)
NONE = "none"
"""The column of calls without a bin: unreadable, neutral, or a direction without a size."""


def breakdown(
    rows: Sequence[Row],
    truths: Sequence[Prediction],
    hits: Sequence[bool],
    weeks: Sequence[str] | None,
    knowledge_cutoff: date | None = None,
) -> Row:
    """The `breakdown` of metrics.json, over rows with a truth; `hits` is whether each direction was called right.

    Each way to cut is a list of {name, n, bin_acc}, with `ci95` (clustered by week, null under six weeks)
    where the groups are few; a way for which a row lacks what it needs is null, and `reasons` says why.
    `move` is the size of the true move. `cutoff` tells the rows whose forecast week begins on or before
    the day up to which the base has read ("before": it may know the outcome) from those after it; the day is
    `knowledge_cutoff`, else the rows' own key of that name. Raises ValueError for a cut-off that is no date.
    """
    cutoffs = [knowledge_cutoff or read_cutoff(row) for row in rows]
    ways: dict[str, tuple[list[str | None], str]] = {
        "symbol": ([_text(row, "symbol") for row in rows], "no `symbol`"),
        "sector": ([_text(row, "sector") or _told_sector(row) for row in rows], "no `sector`, none in a prompt"),
        "week": (list(weeks) if weeks else [None] * len(rows), "no week that every row has"),
        "move": ([_move(truth) for truth in truths], "no size of the true move"),
        "cutoff": ([_side(row, day) for row, day in zip(rows, cutoffs, strict=True)],
                   "no first day of the forecast week, or no `knowledge_cutoff` of the base"),
    }  # fmt: skip
    result: Row = {}
    reasons: dict[str, str] = {}
    for way, (names, lack) in ways.items():
        lacking = sum(name is None for name in names)
        result[way] = None
        if not rows or lacking:
            reasons[way] = (
                f"{lacking} of {len(rows)} rows: {lack}" if rows else "no row with a truth"
            )
        else:
            result[way] = _groups(
                [str(name) for name in names], hits, weeks, interval=way not in ("symbol", "week")
            )
    return {**result, "reasons": reasons}


def knowledge_cutoff(manifest: Row, cutoffs: Mapping[str, date]) -> date | None:
    """The day up to which the base of a run has read, or None where nobody states it.

    `manifest` is the one that eval.generate leaves, `cutoffs` maps the last part of a base's name to its day,
    as `weekahead.recipe.knowledge_cutoffs` reads it from the recipes.
    """
    base = manifest.get("base") or {}
    names = [Path(str(name)).name for name in (base.get("hub_id"), base.get("name")) if name]
    return next((cutoffs[name] for name in names if name in cutoffs), None)


def _groups(
    names: Sequence[str], hits: Sequence[bool], weeks: Sequence[str] | None, interval: bool
) -> list[dict[str, Any]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    groups = []
    for name in sorted(places):
        chosen = places[name]
        share = clustered_share(
            [hits[i] for i in chosen], [weeks[i] for i in chosen] if weeks and interval else None
        )
        group = {"name": name, "n": len(chosen), "bin_acc": share.mean}
        groups.append(
            {**group, "ci95": list(share.ci95) if share.ci95 else None} if interval else group
        )
    return groups


def _text(row: Row, key: str) -> str | None:
    return str(row.get(key) or "").strip() or None


def _told_sector(row: Row) -> str | None:
    """The sector that the prompt tells of the company, in our wording or in the public dataset's."""
    found = _SECTOR.search(prompt_text(row.get("prompt") or ""))
    return (found["ours"] or found["public"]).strip() if found else None


def _move(truth: Prediction) -> str | None:
    if truth.magnitude is None:
        return None
    step = label_of_magnitude(truth.magnitude).split(" by ")[1]
    return step if step in _OWN_GROUP else _MIDDLE


def _side(row: Row, day: date | None) -> str | None:
    first = week_start(row)
    return None if day is None or first is None else "before" if first <= day else "after"


def class_metrics(calls: Sequence[Prediction], truths: Sequence[Prediction]) -> Row:
    """The `classes` of metrics.json, over rows with a truth.

    `confusion` is true bin -> called bin (or "none") -> rows, over the rows whose truth has a bin, worst bin
    first, zeros left out. `distance` is the mean number of bins between called and true, `signed_distance`
    the mean of called minus true (above 0: too hopeful), both over the `distance_n` rows where both have a bin.
    """
    correlation = matthews(
        [truth.direction for truth in truths], [_direction(call) for call in calls]
    )
    bins = [
        (true, bin_of(call))
        for call, truth in zip(calls, truths, strict=True)
        if (true := bin_of(truth))
    ]
    steps = [BINS.index(called) - BINS.index(true) for true, called in bins if called]
    return {
        "matthews": correlation,
        "matthews_reason": None
        if correlation is not None
        else "all calls, or all truths, are the same",
        "confusion": _confusion(bins),
        "confusion_n": len(bins),
        "distance": mean([abs(step) for step in steps]),
        "signed_distance": mean(steps),
        "distance_n": len(steps),
    }


def matthews(truths: Sequence[int | None], calls: Sequence[int | None]) -> float | None:
    """Matthews correlation of directions, -1 to 1; 0 is chance. A call of None is a class that is never true.

    An unreadable or neutral call is so a wrong one, but no forecast of the opposite: counted as the opposite,
    a model that says nothing would seem to know the truth and lie. For up and down alone this is the usual
    coefficient of four cells; with the third class it is its form for several classes (Gorodkin,
    Computational Biology and Chemistry 28, 2004). None where all calls or all truths are one class. Raises
    ValueError when the lengths differ.
    """
    n = len(truths)
    right = sum(truth == call for truth, call in zip(truths, calls, strict=True))
    true, called = Counter(truths), Counter(calls)
    chance = sum(true[name] * called[name] for name in true)
    spread = (n * n - sum(k * k for k in called.values())) * (
        n * n - sum(k * k for k in true.values())
    )
    return (right * n - chance) / sqrt(spread) if spread else None


def _direction(call: Prediction) -> int | None:
    return call.direction if call.direction in (-1, 1) else None


def _confusion(bins: Sequence[tuple[str, str | None]]) -> dict[str, dict[str, int]]:
    counts = Counter(bins)
    columns = (*BINS, None)
    rows = {
        true: {called or NONE: k for called in columns if (k := counts[true, called])}
        for true in BINS
    }
    return {true: row for true, row in rows.items() if row}
