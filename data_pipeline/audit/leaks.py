"""The audit's checks for leaks: what a forecaster, or a test, could not have known."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from textwrap import shorten
from typing import Literal

from data_pipeline.audit.rows import AuditRow
from data_pipeline.audit.text import told_label

EXAMPLES = 5
FindingKind = Literal["leak", "defect", "information"]


@dataclass(frozen=True)
class Finding:
    """What one check found: `count` of the `of` rows it looked at, and at most five examples."""

    count: int
    of: int
    examples: list[str]
    kind: FindingKind
    note: str | None = None

    @property
    def leak(self) -> bool:
        """Whether a leak was found; a defect is none, however often it occurs."""
        return self.kind == "leak" and self.count > 0


def finding(hits: Sequence[str], of: int, kind: FindingKind, note: str | None = None) -> Finding:
    """A finding with one hit a row; each is an id or a short phrase, cut off where it is long."""
    examples = [shorten(hit, 100, placeholder=" ...") for hit in dict.fromkeys(hits)]
    return Finding(len(hits), of, examples[:EXAMPLES], kind, note)


def known_at(rows: Sequence[AuditRow]) -> Finding:
    """Rows with a fact known only after their decision_time, or a decision_time inside the forecast week."""
    clocked = [row for row in rows if row.look_ahead is not None]
    hits = [f"{row.id}: {row.look_ahead[0]}" for row in clocked if row.look_ahead]
    return finding(
        hits, len(clocked), "leak", None if clocked else "no row says when its facts were known"
    )


def constant_market_cap(rows: Sequence[AuditRow]) -> Finding:
    """Rows of symbols whose prompts quote one and the same market capitalization in two weeks or more.

    It moves with the price, so a constant is one day's value, and for most weeks that day lay ahead. In a prompt
    of ours it may stand still where the raw closing price does.
    """
    by_symbol: dict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        if row.market_cap is not None:
            by_symbol[row.symbol].append(row)
    hits = []
    for symbol, told in by_symbol.items():
        weeks = len({row.week_start for row in told})
        if weeks > 1 and len({row.market_cap for row in told}) == 1 and not _price_stands(told):
            hits += [f"{symbol}: {told[0].market_cap} in {weeks} weeks"] * len(told)
    of = sum(map(len, by_symbol.values()))
    return finding(hits, of, "leak", None if of else "no prompt quotes a market capitalization")


def _price_stands(rows: Sequence[AuditRow]) -> bool:
    """Whether the last raw closes of all rows agree within a thousandth, the digits that a capitalization has."""
    closes = [row.moves[-1].after for row in rows if row.moves and row.moves[-1].raw]
    return len(closes) == len(rows) and max(closes) <= 1.001 * min(closes)


def young_quarter(rows: Sequence[AuditRow], filing_lag: int) -> Finding:
    """Rows whose quoted quarter ended at most `filing_lag` days before the forecast week starts.

    It was most likely not published yet. A row is not counted whose `financials_known_at` lies between the
    quarter's end and the decision: that is proof of the filing.
    """
    quoting = [row for row in rows if row.quarter_end]
    hits = [
        f"{row.id}: quarter ended {row.quarter_end}"
        for row in quoting
        if row.quarter_end
        and (row.week_start - row.quarter_end).days <= filing_lag
        and not _filed(row)
    ]
    return finding(hits, len(quoting), "leak", None if quoting else "no prompt quotes a quarter")


def _filed(row: AuditRow) -> bool:
    known = row.financials_known_at
    return bool(
        known and row.quarter_end and row.quarter_end < known.date() and known <= row.decision_time
    )


def label_in_prompt(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose prompt gives its outcome away; see `text.told_label`."""
    told = [
        (row.id, told_label(row.system, row.user, row.label, row.week_start.isoformat()))
        for row in rows
    ]
    return finding([f"{name}: {how}" for name, how in told if how], len(rows), "leak")


def split_overlap(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose id or forecast week stands in another split too.

    Splits of one kind, such as test and test_2025, count as one.
    """
    where: dict[date | str, set[str]] = defaultdict(set)
    for row in rows:
        where[row.week_start].add(split_kind(row))
        where[row.id].add(split_kind(row))
    hits = [
        f"{key} in {' and '.join(sorted(where[key]))}"
        for row in rows
        if (key := next((key for key in (row.id, row.week_start) if len(where[key]) > 1), None))
    ]
    one = len({split_kind(row) for row in rows}) == 1
    return finding(hits, len(rows), "leak", "one split: nothing to overlap with" if one else None)


def split_kind(row: AuditRow) -> str:
    """train, validation or test, whatever follows in the split's name."""
    return row.split.split("_")[0]


def duplicate(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose id or whole prompt stood in an earlier row, of the same split or another."""
    ids: set[str] = set()
    prompts: dict[tuple[str, str], str] = {}
    hits = []
    for row in rows:
        first = prompts.setdefault((row.system, row.user), row.id)
        if row.id in ids:
            hits.append(f"{row.id}: the id")
        elif first != row.id:
            hits.append(f"{row.id}: the prompt of {first}")
        ids.add(row.id)
    return finding(hits, len(rows), "leak")
