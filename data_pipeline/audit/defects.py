"""The audit's checks for defects that are not leaks, and what it reports besides."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise

from data_pipeline.audit.leaks import EXAMPLES, Finding, finding, split_kind
from data_pipeline.audit.rows import AuditRow
from data_pipeline.dataset.public_rows import UNREADABLE, answer_fault
from data_pipeline.dataset.public_text import repair_text
from weekahead.task.labels import BINS, label_of_return
from weekahead.task.prompt_reader import PriceMove

DIVIDEND = 0.02
"""Our prompts show raw closes and our labels count dividends: they may differ by such a yield."""
_WEEK = timedelta(weeks=1)


def reference_answers(rows: Sequence[AuditRow]) -> dict[str, Finding]:
    """`missing_prediction`: references from which no bin can be read.

    `answer_against_label`: references that name another bin than the label.
    """
    unreadable: list[str] = []
    contradicting: list[str] = []
    answered = 0
    for row in rows:
        if row.answer is None or row.label is None:
            continue
        answered += 1
        fault = answer_fault(row.answer, label=row.label)
        if fault is None:
            continue
        if fault.startswith(UNREADABLE):
            unreadable.append(f"{row.id}: {fault.removeprefix(UNREADABLE)}")
        else:
            contradicting.append(row.id)
    note = None if answered else "records have no answers"
    readable = answered - len(unreadable)
    return {
        "missing_prediction": finding(unreadable, answered, "defect", note),
        "answer_against_label": finding(contradicting, readable, "defect", note),
    }


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
    hits: list[str] = []
    with_return = 0
    for row in rows:
        if row.weekly_return is None:
            continue
        with_return += 1
        if row.label != label_of_return(row.weekly_return):
            hits.append(f"{row.id}: {row.label}, but {row.weekly_return:+.4f}")
    note = None if with_return else "no row carries a weekly_return"
    return finding(hits, with_return, "defect", note)


def label_against_prices(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose label is not the bin of the move that another prompt shows for their week.

    This is the label rule seen from outside: later prompts of the symbol, of any split, show the
    week as a price line.
    """
    moves: dict[tuple[str, str], PriceMove] = {}
    for row in rows:
        for move in row.moves:
            moves.setdefault((row.symbol, move.end), move)
    hits: list[str] = []
    checked = 0
    for row in rows:
        move = moves.get((row.symbol, row.week_end.isoformat()))
        if not row.label or move is None:
            continue
        checked += 1
        if row.label not in bins_of(move):
            hits.append(f"{row.id}: {row.label}, but {move.before:g} to {move.after:g}")
    note = None if checked else "no forecast week is a price line of another prompt"
    return finding(hits, checked, "defect", note)


def bins_of(move: PriceMove) -> tuple[str, ...]:
    """The bins in which a week's return can lie: prices are rounded, raw ones lack a dividend."""
    lowest = (move.after - move.rounding) / (move.before + move.rounding) - 1
    highest = (move.after + move.rounding) / (move.before - move.rounding) - 1
    if move.raw:
        highest += DIVIDEND
    first, last = BINS.index(label_of_return(lowest)), BINS.index(label_of_return(highest))
    return BINS[first : last + 1]


def symbol_week_holes(rows: Sequence[AuditRow]) -> Finding:
    """Weeks missing between a symbol's first and last week of one split.

    `of` counts the weeks from first to last. The gap between two splits is not a hole.
    """
    weeks_of: dict[tuple[str, str], set[date]] = defaultdict(set)
    for row in rows:
        weeks_of[split_kind(row), row.symbol].add(row.week_start)
    holes: list[str] = []
    spanned = 0
    for (_, symbol), weeks in weeks_of.items():
        day, last = min(weeks), max(weeks)
        while day <= last:
            spanned += 1
            if day not in weeks:
                holes.append(f"{symbol}-{day}")
            day += _WEEK
    return finding(holes, spanned, "defect", "weeks, not rows")


def broken_text(rows: Sequence[AuditRow]) -> dict[str, Finding]:
    """`mojibake` and `html_entity`: rows with text that the conversion of public rows repairs."""
    hits: dict[str, list[str]] = {"mojibake": [], "html_entity": []}
    totals = dict.fromkeys(hits, 0)
    for row in rows:
        repairs = repair_text(row.user)[1] + repair_text(row.answer or "")[1]
        for kind in hits:
            totals[kind] += repairs[kind]
            if repairs[kind]:
                hits[kind].append(row.id)
    findings = {}
    for kind, ids in hits.items():
        note = f"{totals[kind]} places" if totals[kind] else None
        findings[kind] = finding(ids, len(rows), "defect", note)
    return findings


def split_gap(rows: Sequence[AuditRow]) -> Finding:
    """Pairs of neighbouring splits with fewer weeks between them than the later prompts show.

    Such prompts show the outcome of a week that the earlier split asks for. A gap below zero means
    that the splits interleave.
    """
    parts: dict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        parts[split_kind(row)].append(row)
    order = [kind for kind in ("train", "validation", "test") if kind in parts]
    gaps: list[str] = []
    short = 0
    for earlier, later in pairwise(order):
        last = max(row.week_start for row in parts[earlier])
        gap = (min(row.week_start for row in parts[later]) - last).days // 7 - 1
        context = max(len(row.moves) for row in parts[later])
        gaps.append(f"{earlier} to {later}: {gap} weeks, context {context}")
        short += gap < context
    note = "pairs of splits" if gaps else "one split: no gap to measure"
    return Finding(short, len(gaps), gaps, "defect", note)


def weeks_before_cutoff(rows: Sequence[AuditRow], cutoffs: Mapping[str, date]) -> Finding:
    """Rows whose week begins before some base's training data ends.

    That base may have read about the outcome. `cutoffs` maps a base's name to that day; the count
    is for the latest of them, which is the first example.
    """
    examples = []
    latest_first = sorted(cutoffs.items(), key=lambda item: (item[1], item[0]), reverse=True)
    for name, day in latest_first:
        weeks = [row.week_start for row in rows if row.week_start <= day]
        examples.append(f"{name}, {day}: {len(weeks)} rows, {len(set(weeks))} weeks")
    latest = max(cutoffs.values(), default=date.min)
    count = sum(row.week_start <= latest for row in rows)
    note = None if cutoffs else "no recipe states a cut-off"
    return Finding(count, len(rows), examples[:EXAMPLES], "information", note)
