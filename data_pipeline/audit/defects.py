"""The audit's checks for defects that are no leak, and what it tells besides."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise

from data_pipeline.audit.leaks import Finding, finding, split_kind
from data_pipeline.audit.rows import AuditRow
from data_pipeline.audit.text import bins_of
from data_pipeline.dataset.public_rows import answer_fault
from data_pipeline.dataset.public_text import repair_text
from weekahead.task.labels import label_of_return
from weekahead.task.prompt import completion
from weekahead.task.prompt_reader import PriceMove

_WEEK = timedelta(weeks=1)
_UNREAD = "answer: "


def answers(rows: Sequence[AuditRow]) -> dict[str, Finding]:
    """`missing_prediction`: references from which no bin can be read; `answer_against_label`: another bin is."""
    given = [(row.id, answer_fault(_as_row(row))) for row in rows if row.answer is not None]
    unread = [
        f"{name}: {fault.removeprefix(_UNREAD)}"
        for name, fault in given
        if fault and fault.startswith(_UNREAD)
    ]
    other = [name for name, fault in given if fault and not fault.startswith(_UNREAD)]
    note = None if given else "records have no answers"
    return {
        "missing_prediction": finding(unread, len(given), "defect", note),
        "answer_against_label": finding(other, len(given) - len(unread), "defect", note),
    }


def _as_row(row: AuditRow) -> dict[str, object]:
    return {"completion": completion(row.answer or ""), "label": row.label}


def wrong_asset_wording(rows: Sequence[AuditRow]) -> Finding:
    """Rows that ask for a company's "cryptocurrency price movement"."""
    hits = [
        row.id
        for row in rows
        if row.asks_about_cryptocurrency and "crypto" not in row.system.lower()
    ]
    return finding(hits, len(rows), "defect")


def label_against_return(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose label is not the bin of their own weekly_return."""
    known = [row for row in rows if row.weekly_return is not None]
    hits = [
        f"{row.id}: {row.label}, but {row.weekly_return:+.4f}"
        for row in known
        if row.weekly_return is not None and row.label != label_of_return(row.weekly_return)
    ]
    return finding(hits, len(known), "defect", None if known else "no row carries a weekly_return")


def label_against_prices(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose label is not the bin of the move that another prompt of the symbol shows for their week.

    This is the label rule seen from outside: later prompts, of any split, show the week as a price line.
    """
    seen: dict[tuple[str, str], PriceMove] = {}
    for row in rows:
        for move in row.moves:
            seen.setdefault((row.symbol, move.end), move)
    labelled = [row for row in rows if row.label]
    checked = [
        (row, move)
        for row in labelled
        if (move := seen.get((row.symbol, row.week_end.isoformat())))
    ]
    hits = [
        f"{row.id}: {row.label}, but {move.before:g} to {move.after:g}"
        for row, move in checked
        if row.label not in bins_of(move)
    ]
    note = None if checked else "no forecast week is a price line of another prompt"
    return finding(hits, len(checked), "defect", note)


def symbol_week_holes(rows: Sequence[AuditRow]) -> Finding:
    """Weeks missing between a symbol's first and last week of one split; `of` counts the weeks spanned.

    The gap between two splits is no hole.
    """
    weeks: dict[tuple[str, str], set[date]] = defaultdict(set)
    for row in rows:
        weeks[split_kind(row), row.symbol].add(row.week_start)
    holes, spanned = [], 0
    for (_, symbol), known in weeks.items():
        day, last = min(known), max(known)
        while day <= last:
            spanned += 1
            if day not in known:
                holes.append(f"{symbol}-{day}")
            day += _WEEK
    return finding(holes, spanned, "defect", "weeks, not rows")


def broken_text(rows: Sequence[AuditRow]) -> dict[str, Finding]:
    """`mojibake` and `html_entity`: rows whose user part or answer holds text that `fingpt_text` would repair."""
    kinds = ("mojibake", "html_entity")
    hits: dict[str, list[str]] = {kind: [] for kind in kinds}
    total = dict.fromkeys(kinds, 0)
    for row in rows:
        found = repair_text(row.user)[1] + repair_text(row.answer or "")[1]
        for kind in kinds:
            total[kind] += found[kind]
            hits[kind] += [row.id] * bool(found[kind])
    notes = {kind: f"{total[kind]} places" if total[kind] else None for kind in kinds}
    return {kind: finding(hits[kind], len(rows), "defect", notes[kind]) for kind in kinds}


def split_gap(rows: Sequence[AuditRow]) -> Finding:
    """Pairs of neighbouring splits with fewer weeks between them than the later prompts show as context.

    Such prompts show the outcome of a week that the earlier split asks for. Below zero, the splits interleave.
    """
    parts: dict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        parts[split_kind(row)].append(row)
    order = [kind for kind in ("train", "validation", "test") if kind in parts]
    told, short = [], 0
    for earlier, later in pairwise(order):
        last = max(row.week_start for row in parts[earlier])
        gap = (min(row.week_start for row in parts[later]) - last).days // 7 - 1
        context = max(len(row.moves) for row in parts[later])
        told.append(f"{earlier} to {later}: {gap} weeks, context {context}")
        short += gap < context
    return Finding(
        short,
        len(told),
        told,
        "defect",
        "pairs of splits" if told else "one split: no gap to measure",
    )


def weeks_before_cutoff(rows: Sequence[AuditRow], cutoffs: Mapping[str, date]) -> Finding:
    """Rows whose week begins before some base's training data ends: that base may have read about the outcome.

    `cutoffs` maps a base's name to that day; the count is for the latest of them, which is told first.
    """
    told = []
    for name, day in sorted(cutoffs.items(), key=lambda item: (item[1], item[0]), reverse=True):
        before = [row.week_start for row in rows if row.week_start <= day]
        told.append(f"{name}, {day}: {len(before)} rows, {len(set(before))} weeks")
    latest = max(cutoffs.values(), default=None)
    count = sum(row.week_start <= latest for row in rows) if latest else 0
    return Finding(
        count, len(rows), told[:5], "information", None if cutoffs else "no recipe states a cut-off"
    )
