"""The audit's checks for leaks: what a forecaster, or a test, could not have known."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from textwrap import shorten
from typing import Literal

from data_pipeline.audit.rows import AuditRow
from weekahead.task.prompt_reader import is_news_line

EXAMPLES = 5
FindingKind = Literal["leak", "defect", "information"]

_BIN = re.compile(
    # "Up or Down by 0-1%" offers a choice and reveals nothing.
    r"(?<!\bor )\b(?P<way>up|down)\s+by\s+"
    r"(?:(?P<low>[0-4])\s*[-\u2013]\s*[1-5]\s*%|more than 5\s*%|5\+\s*%)",
    re.IGNORECASE,
)
_FILLED_IN = re.compile(rf"\W*prediction\W+{_BIN.pattern}", re.IGNORECASE)
_STATED = re.compile(r"[\"'*_ ]*(?:label|weekly[ _]return)[\"'*_ ]*[:=]", re.IGNORECASE)
_TO_FORECASTER = re.compile(
    r"\b(?:your (?:prediction|forecast|answer)|the (?:true |right )?label)\b", re.IGNORECASE
)


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
        """Whether a leak was found; a defect is not one, however often it occurs."""
        return self.kind == "leak" and self.count > 0


def finding(hits: Sequence[str], of: int, kind: FindingKind, note: str | None = None) -> Finding:
    """A finding with one hit per row; each is an id or a short phrase, cut off if it is long."""
    examples = [shorten(hit, 100, placeholder=" ...") for hit in dict.fromkeys(hits)]
    return Finding(len(hits), of, examples[:EXAMPLES], kind, note)


def known_at(rows: Sequence[AuditRow]) -> Finding:
    """Rows with a fact known only after their decision_time, or decided in the forecast week."""
    timed = [row for row in rows if row.look_ahead is not None]
    hits = [f"{row.id}: {row.look_ahead[0]}" for row in timed if row.look_ahead]
    note = None if timed else "no row says when its facts were known"
    return finding(hits, len(timed), "leak", note)


def constant_market_cap(rows: Sequence[AuditRow]) -> Finding:
    """Rows of symbols whose prompts quote one and the same market capitalization in several weeks.

    It moves with the price, so a constant is one day's value, and for most weeks that day lay
    ahead. In a prompt of ours it may stand still if the raw closing price does.
    """
    by_symbol: dict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        if row.market_cap is not None:
            by_symbol[row.symbol].append(row)
    hits: list[str] = []
    for symbol, quoting in by_symbol.items():
        weeks = len({row.week_start for row in quoting})
        values = {row.market_cap for row in quoting}
        if weeks > 1 and len(values) == 1 and not _price_stands(quoting):
            hits += [f"{symbol}: {quoting[0].market_cap} in {weeks} weeks"] * len(quoting)
    of = sum(map(len, by_symbol.values()))
    return finding(hits, of, "leak", None if of else "no prompt quotes a market capitalization")


def _price_stands(rows: Sequence[AuditRow]) -> bool:
    """Whether the last raw closes of all rows agree within a thousandth.

    A printed capitalization has no more digits than that.
    """
    closes = [row.moves[-1].after for row in rows if row.moves and row.moves[-1].raw]
    return len(closes) == len(rows) and max(closes) <= 1.001 * min(closes)


def young_quarter(rows: Sequence[AuditRow], filing_lag: int) -> Finding:
    """Rows whose quoted quarter ended at most `filing_lag` days before the forecast week starts.

    It was most likely not published yet. A row is not counted if its `financials_known_at` lies
    between the quarter's end and the decision: that is proof of the filing.
    """
    quoting = [row for row in rows if row.quarter_end]
    hits = [
        f"{row.id}: quarter ended {row.quarter_end}"
        for row in quoting
        if _quarter_age(row) <= filing_lag and not _filed(row)
    ]
    return finding(hits, len(quoting), "leak", None if quoting else "no prompt quotes a quarter")


def _quarter_age(row: AuditRow) -> int:
    """Days from the quarter's end to the start of the forecast week."""
    return (row.week_start - (row.quarter_end or row.week_start)).days


def _filed(row: AuditRow) -> bool:
    filed_at = row.financials_known_at
    if filed_at is None or row.quarter_end is None:
        return False
    return row.quarter_end < filed_at.date() and filed_at <= row.decision_time


def label_in_prompt(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose prompt gives its outcome away; see `outcome_in_prompt`."""
    ways = [(row.id, outcome_in_prompt(row)) for row in rows]
    return finding([f"{name}: {way}" for name, way in ways if way], len(rows), "leak")


def outcome_in_prompt(row: AuditRow) -> str | None:
    """How a prompt gives its outcome away, in a few words; None if it does not.

    A filled-in prediction, label or return, a price line that ends in the forecast week, or the
    label's own words. In a line of news these count only beside words to the forecaster ("your
    prediction"), since news may report or expect such a move; a line that names three bins or more
    is a choice.
    """
    if any(move.end > row.week_start.isoformat() for move in row.moves):
        return "price line of the forecast week"
    lines = [line for line in row.user.splitlines() if not is_news_line(line)]
    if any(_FILLED_IN.match(line) or _STATED.match(line) for line in lines):
        return "filled-in prediction, label or return"
    for line in f"{row.system}\n{row.user}".splitlines():
        bins = {_bin(match) for match in _BIN.finditer(line)}
        counts = _TO_FORECASTER.search(line) or not is_news_line(line)
        if row.label in bins and len(bins) < 3 and counts:
            return "the label's words"
    return None


def _bin(match: re.Match[str]) -> str:
    step = f"{match['low']}-{int(match['low']) + 1}%" if match["low"] else "more than 5%"
    return f"{match['way'].lower()} by {step}"


def split_overlap(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose id or forecast week stands in another split too.

    Splits of one kind, such as test and test_2025, count as one.
    """
    splits_of: dict[date | str, set[str]] = defaultdict(set)
    for row in rows:
        splits_of[row.week_start].add(split_kind(row))
        splits_of[row.id].add(split_kind(row))
    hits = []
    for row in rows:
        for key in (row.id, row.week_start):
            if len(splits_of[key]) > 1:
                hits.append(f"{key} in {' and '.join(sorted(splits_of[key]))}")
                break
    one_split = len({split_kind(row) for row in rows}) == 1
    note = "one split: nothing to overlap with" if one_split else None
    return finding(hits, len(rows), "leak", note)


def split_kind(row: AuditRow) -> str:
    """train, validation or test, whatever follows in the split's name."""
    return row.split.split("_")[0]


def duplicate(rows: Sequence[AuditRow]) -> Finding:
    """Rows whose id or whole prompt stood in an earlier row, of the same split or another."""
    ids: set[str] = set()
    first_ids: dict[tuple[str, str], str] = {}
    hits = []
    for row in rows:
        first_id = first_ids.setdefault((row.system, row.user), row.id)
        if row.id in ids:
            hits.append(f"{row.id}: the id")
        elif first_id != row.id:
            hits.append(f"{row.id}: the prompt of {first_id}")
        ids.add(row.id)
    return finding(hits, len(rows), "leak")
