"""Any dataset as the audit sees it: public rows as they came, rows of ours, or records; nothing is repaired."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from data_pipeline.audit.text import moves_of
from data_pipeline.dataset.load import COLUMNS, is_public
from data_pipeline.dataset.public_rows import PUBLIC_COLUMNS
from data_pipeline.dataset.public_text import unwrap
from data_pipeline.dataset.reader import Source
from weekahead.files import Row
from weekahead.task.labels import check_label
from weekahead.task.prompt import render_prompt
from weekahead.task.prompt_reader import PriceMove, read_prompt
from weekahead.task.record import Record, look_ahead, moment


@dataclass(frozen=True)
class AuditRow:
    """One row: its texts as they stand in the source, and what can be read out of them."""

    split: str
    id: str
    symbol: str
    week_start: date
    week_end: date
    system: str
    user: str
    answer: str | None
    """The reference answer; None for a record, which has none yet."""
    label: str | None
    weekly_return: float | None
    decision_time: datetime
    look_ahead: tuple[str, ...] | None
    """What was known too late, in a few words each; None where the row does not say when its facts were known."""
    financials_known_at: datetime | None
    market_cap: str | None
    quarter_end: date | None
    moves: tuple[PriceMove, ...]
    asks_about_cryptocurrency: bool


def audit_rows(source: Source) -> list[AuditRow]:
    """Every row of `source`, each known by its own shape.

    Raises ValueError naming place, row and value for no rows and for a row of none of the three shapes.
    """
    rows = list(_read(source))
    if not rows:
        raise ValueError(
            f"{source.name}: no rows to audit; expected at least one with {', '.join(COLUMNS)}"
        )
    return rows


def _read(source: Source) -> Iterator[AuditRow]:
    for split, rows in source.splits.items():
        for number, row in enumerate(rows, start=1):
            try:
                yield (
                    _of_record(split, row)
                    if "weeks" in row and "prompt" not in row
                    else _of_row(split, row)
                )
            except ValueError as error:
                raise ValueError(f"{source.origins[split]}, row {number}: {error}") from None


def _of_row(split: str, row: Row) -> AuditRow:
    public = is_public([row])
    missing = [name for name in (PUBLIC_COLUMNS if public else COLUMNS) if name not in row]
    if missing:
        raise ValueError(
            f"missing column {', '.join(missing)}; expected {', '.join(COLUMNS)}, the public dataset's "
            f"{', '.join(PUBLIC_COLUMNS)}, or the fields of a record; found {', '.join(row)}"
        )
    if public:
        if not isinstance(row["answer"], str):
            raise ValueError(f"answer is {row['answer']!r}; expected a text")
        start, to, end = _text(row, "period").partition(" to ")
        if not to:
            raise ValueError(
                f"period is {row['period']!r}; expected two dates such as '2024-03-03 to 2024-03-10'"
            )
        name, texts, answer = (
            f"{row['symbol']}-{start}",
            _unwrapped(_text(row, "prompt")),
            row["answer"],
        )
    else:
        start, end = row["week_start"], row["week_end"]
        name, texts, answer = (
            _text(row, "id"),
            _messages(row, "prompt"),
            _messages(row, "completion")[1],
        )
    row = {
        **row,
        "id": name,
        "week_start": start,
        "week_end": end,
        "label": check_label(row["label"]),
    }
    return _audit_row(split, row, texts, answer, late=None)


def _of_record(split: str, row: Row) -> AuditRow:
    record = Record.from_json(row)
    system, user = (turn["content"] for turn in render_prompt(record))
    filed = record.financials.known_at if record.financials else None
    row = {**row, "id": record.id, "label": record.label, "financials_known_at": filed}
    return _audit_row(split, row, (system, user), answer=None, late=look_ahead(record))


def _audit_row(
    split: str, row: Row, texts: tuple[str, str], answer: str | None, late: list[str] | None
) -> AuditRow:
    """What all shapes share. `texts` are the system part of the prompt and the rest; `late` is for records."""
    start, end = _day(row, "week_start"), _day(row, "week_end")
    if end <= start:
        raise ValueError(
            f"the forecast week runs from {start} to {end}; expected two days in order"
        )
    decision = _moment(row, "decision_time") or datetime.combine(start, time(), UTC)
    facts = read_prompt(texts[1])
    return AuditRow(
        split=split,
        id=row["id"],
        symbol=_text(row, "symbol"),
        week_start=start,
        week_end=end,
        system=texts[0],
        user=texts[1],
        answer=answer,
        label=row["label"],
        weekly_return=_number(row, "weekly_return"),
        decision_time=decision,
        look_ahead=_look_ahead(row, start, decision, late),
        financials_known_at=_moment(row, "financials_known_at"),
        market_cap=facts.market_cap,
        quarter_end=date.fromisoformat(facts.quarter_end) if facts.quarter_end else None,
        moves=moves_of(facts),
        asks_about_cryptocurrency=facts.asks_about_cryptocurrency,
    )


def _look_ahead(
    row: Row, start: date, decision: datetime, late: list[str] | None
) -> tuple[str, ...] | None:
    times = {name: _moment(row, name) for name in ("known_at", "financials_known_at")}
    found = (
        [f"{name} {row[name]}" for name, at in times.items() if at and at > decision]
        if late is None
        else late
    )
    # A late decision would excuse every fact. Midnight of a day comes last in UTC-12.
    if decision > datetime.combine(start, time(12), UTC):
        found = [*found, f"decision_time {row['decision_time']}"]
    return tuple(found) if found or times["known_at"] or late is not None else None


def _unwrapped(prompt: str) -> tuple[str, str]:
    try:
        return unwrap(prompt)
    except ValueError:
        return "", prompt  # in another form, but it can be read all the same


def _messages(row: Row, name: str) -> tuple[str, str]:
    """(system, everything else) of a list of messages."""
    try:
        turns = [(turn["role"], turn["content"] + "") for turn in row[name]]
    except (TypeError, KeyError):
        raise ValueError(
            f"{name} is {str(row[name])[:60]!r}; expected a list of {{role, content}} messages"
        ) from None
    parts = [
        "\n\n".join(text for role, text in turns if (role == "system") is system)
        for system in (True, False)
    ]
    return parts[0], parts[1]


def _text(row: Row, name: str) -> str:
    if not isinstance(row[name], str) or not row[name].strip():
        raise ValueError(f"{name} is {row[name]!r}; expected a text that is not empty")
    return row[name]


def _day(row: Row, name: str) -> date:
    try:
        return date.fromisoformat(row[name])
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {row[name]!r}; expected a date such as 2024-03-17") from None


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ):
        raise ValueError(f"{name} is {value!r}; expected a finite fraction such as 0.012, or null")
    return value


def _moment(row: Row, name: str) -> datetime | None:
    """The time in UTC under `name`; None where there is none."""
    if row.get(name) is None:
        return None
    try:
        return moment(row[name])
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} is {row[name]!r}; expected a time such as 2024-03-17T04:00:00+00:00, or null"
        ) from None
