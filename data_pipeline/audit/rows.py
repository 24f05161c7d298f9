"""Any dataset as the audit sees it: public rows, rows of ours, or records; nothing is repaired."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from data_pipeline.dataset.load import is_public
from data_pipeline.dataset.public_text import unwrap
from data_pipeline.dataset.reader import Source
from data_pipeline.records.calendar import is_always_open, latest_decision
from weekahead.schema.dataset_files import COLUMNS, PUBLIC_COLUMNS
from weekahead.schema.manifests import JsonObject
from weekahead.schema.shape import is_finite, shortened
from weekahead.task.labels import check_label
from weekahead.task.prompt import render_prompt
from weekahead.task.prompt_reader import PriceMove, read_prompt
from weekahead.task.record import Record, look_ahead
from weekahead.task.times import moment, published_by, read_day


@dataclass(frozen=True, kw_only=True)
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
    """What became known too late, each in a few words.

    None if the row does not say when its facts became known.
    """
    financials_known_at: datetime | None
    market_cap: str | None
    quarter_end: date | None
    moves: tuple[PriceMove, ...]
    """The price lines without those whose first price is printed as zero."""
    asks_about_cryptocurrency: bool


@dataclass(frozen=True, kw_only=True)
class _RowContent:
    """What each of the three shapes keeps in columns of its own."""

    columns: JsonObject
    id: str
    week_start: object
    week_end: object
    system: str
    user: str
    """Everything in the prompt but the system message."""
    answer: str | None
    label: str | None
    late_facts: Sequence[str] | None
    """What a record shows that became known too late; None for a row, which has only sums."""


def audit_rows(source: Source) -> list[AuditRow]:
    """Every row of `source`; each row's own columns say which shape it has.

    Raises ValueError naming file, row and value for no rows and for a row of none of the shapes.
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
                yield _audit_row(split, _content(row))
            except ValueError as error:
                raise ValueError(f"{source.origins[split]}, row {number}: {error}") from None


def _content(row: JsonObject) -> _RowContent:
    if "weeks" in row and "prompt" not in row:
        return _record_content(row)
    return _public_content(row) if is_public([row]) else _our_content(row)


def _record_content(row: JsonObject) -> _RowContent:
    record = Record.from_json(row)
    system, user = (message["content"] for message in render_prompt(record))
    filed = record.financials.known_at if record.financials else None
    return _RowContent(
        columns={
            **row,
            "financials_known_at": filed,
            "synthetic": record.extra.get("synthetic"),
        },
        id=record.id,
        week_start=record.week_start,
        week_end=record.week_end,
        system=system,
        user=user,
        answer=None,
        label=record.label,
        late_facts=look_ahead(record),
    )


def _public_content(row: JsonObject) -> _RowContent:
    _check_columns(row, PUBLIC_COLUMNS)
    if not isinstance(row["answer"], str):
        raise ValueError(f"answer is {row['answer']!r}; expected a text")
    start, separator, end = _text(row, "period").partition(" to ")
    if not separator:
        raise ValueError(
            f"period is {row['period']!r}; expected two dates such as '2024-03-03 to 2024-03-10'"
        )
    system, user = _unwrapped(_text(row, "prompt"))
    return _RowContent(
        columns=row,
        id=f"{row['symbol']}-{start}",
        week_start=start,
        week_end=end,
        system=system,
        user=user,
        answer=row["answer"],
        label=check_label(row["label"]),
        late_facts=None,
    )


def _our_content(row: JsonObject) -> _RowContent:
    _check_columns(row, COLUMNS)
    name = _text(row, "id")
    system, user = _system_and_rest(row, "prompt")
    _, answer = _system_and_rest(row, "completion")
    return _RowContent(
        columns=row,
        id=name,
        week_start=row["week_start"],
        week_end=row["week_end"],
        system=system,
        user=user,
        answer=answer,
        label=check_label(row["label"]),
        late_facts=None,
    )


def _audit_row(split: str, content: _RowContent) -> AuditRow:
    """What is done with a row of any shape."""
    columns = content.columns
    start = read_day(content.week_start, "week_start")
    end = read_day(content.week_end, "week_end")
    if end <= start:
        raise ValueError(
            f"the forecast week runs from {start} to {end}; expected two days in order"
        )
    decision = _moment(columns, "decision_time") or datetime.combine(start, time(), UTC)
    facts = read_prompt(content.user)
    return AuditRow(
        split=split,
        id=content.id,
        symbol=_text(columns, "symbol"),
        week_start=start,
        week_end=end,
        system=content.system,
        user=content.user,
        answer=content.answer,
        label=content.label,
        weekly_return=_fraction(columns, "weekly_return"),
        decision_time=decision,
        look_ahead=_look_ahead(content, start, decision),
        financials_known_at=_moment(columns, "financials_known_at"),
        market_cap=facts.market_cap,
        quarter_end=read_day(facts.quarter_end, "the quarter's end") if facts.quarter_end else None,
        moves=tuple(move for move in facts.price_moves if move.before > move.rounding),
        asks_about_cryptocurrency=facts.asks_about_cryptocurrency,
    )


def _look_ahead(content: _RowContent, start: date, decision: datetime) -> tuple[str, ...] | None:
    columns = content.columns
    known_at = {name: _moment(columns, name) for name in ("known_at", "financials_known_at")}
    if content.late_facts is None:
        late = [
            f"{name} {columns[name]}"
            for name, known in known_at.items()
            if known and _known_by(columns, name, known) > decision
        ]
    else:
        late = list(content.late_facts)
    # A late decision would excuse every fact.
    latest = latest_decision(str(columns["symbol"]), start, synthetic=_is_synthetic(columns))
    if columns.get("decision_time") is not None and decision > latest:
        late.append(f"decision_time {columns['decision_time']}")
    if late or known_at["known_at"] or content.late_facts is not None:
        return tuple(late)
    return None


def _known_by(columns: JsonObject, name: str, known: datetime) -> datetime:
    """When a fact was known for sure: on a day without a clock at its end.

    The last price of a pair that trades day and night, or of a fictional market, has midnight, and
    that is its clock.
    """
    has_clock = is_always_open(str(columns["symbol"])) or _is_synthetic(columns)
    if name == "known_at" and has_clock:
        return known
    return published_by(columns[name])


def _is_synthetic(columns: JsonObject) -> bool:
    return columns.get("synthetic") is True


def _check_columns(row: JsonObject, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in row]
    if missing:
        raise ValueError(
            f"missing column {', '.join(missing)}; expected {', '.join(COLUMNS)}, "
            f"the public dataset's {', '.join(PUBLIC_COLUMNS)}, or the fields of a record; "
            f"found {', '.join(row)}"
        )


def _unwrapped(prompt: str) -> tuple[str, str]:
    try:
        return unwrap(prompt)
    except ValueError:
        return "", prompt  # in another form, but it can be read all the same


def _system_and_rest(row: JsonObject, name: str) -> tuple[str, str]:
    """The texts of the system messages and of all others in a list of messages."""
    system: list[str] = []
    rest: list[str] = []
    try:
        for message in row[name]:
            texts = system if message["role"] == "system" else rest
            texts.append(message["content"] + "")  # a TypeError if it is not a text
    except (TypeError, KeyError):
        raise ValueError(
            f"{name} is {str(row[name])[:60]!r}; expected a list of {{role, content}} messages"
        ) from None
    return "\n\n".join(system), "\n\n".join(rest)


def _text(row: JsonObject, name: str) -> str:
    if not isinstance(row[name], str) or not row[name].strip():
        raise ValueError(f"{name} is {row[name]!r}; expected a text that is not empty")
    return row[name]


def _fraction(row: JsonObject, name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    if not is_finite(value):
        raise ValueError(
            f"{name} is {shortened(value)}; expected a finite fraction such as 0.012, or null"
        )
    return value


def _moment(row: JsonObject, name: str) -> datetime | None:
    """The time in UTC under `name`; None if there is none."""
    return None if row.get(name) is None else moment(row[name], name)
