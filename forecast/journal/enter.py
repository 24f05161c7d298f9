"""Entering a week: inputs that end at its decision time, and the panel's forecasts before it opens.

Inputs are gathered once and kept beside the ledger, so that an entry that was interrupted goes on
with the same ones. Each forecast is appended as soon as it is made.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from data_pipeline.records.calendar import exchange_of, first_open, sunday_on_or_before
from forecast.company.gate import check_record
from forecast.company.inputs import Known, check_each_once
from forecast.journal.ledger import LEDGER, Ledger, append_lines, extended
from forecast.journal.panel import Call, Member
from weekahead.files import Row, iter_jsonl, read_jsonl, write_jsonl
from weekahead.schema.journal import VERSION, Clock, KeptInputs
from weekahead.schema.shape import check_shape
from weekahead.task.prompt import render_prompt
from weekahead.task.record import Record
from weekahead.task.times import moment

INPUTS = "inputs"
"""Folder of the records that a week was forecast from, `<week>.jsonl`."""


@dataclass(frozen=True)
class Entry:
    """One call of the command."""

    folder: Path
    clock: Clock
    now: Callable[[], datetime]
    """The journal's clock."""
    panel: Sequence[Member]
    code_commit: str | None = None
    named: frozenset[str] = frozenset()
    """The symbols that were named one by one; empty for all."""

    @property
    def week(self) -> date:
        """The Sunday of the week under way."""
        return sunday_on_or_before(self.now().date())


def enter(ledger: Ledger, entry: Entry, gather: Callable[[], Known]) -> Ledger:
    """Append what is missing of the entry of the week under way, and return the ledger.

    `gather` is asked for what is known unless the entry was begun before. Raises what it raises,
    and ValueError if the panel is not the journal's, for inputs that no forecast can use, if no
    company can be forecast any more, all before anything is written; and if the week opens
    meanwhile: what was entered by then stays.
    """
    week = entry.week.isoformat()
    first = [*_start(ledger, entry), *_closing_lines(ledger, entry, week)]
    path = _inputs_path(entry.folder, week)
    # Inputs from which nothing was forecast are gathered anew.
    begun = any(line["week_start"] == week for line in ledger.forecasts)
    known = _read_inputs(path) if begun and path.exists() else _checked(gather())
    if begun:
        _check_same_inputs(ledger, week, known, path)
        _check_same_companies(entry, known)
    known = _still_open(known, entry, ledger)
    extended(ledger, [*first, *_trial_lines(ledger, entry, known)], str(entry.folder / LEDGER))
    ledger = append_lines(entry.folder, ledger, first)
    if not begun or not path.exists():
        _write_inputs(path, known)
    for member in entry.panel:
        ledger = _forecast(ledger, entry, member, known.records)
    line = _week_line(ledger, entry, week, known.left_out)
    return append_lines(entry.folder, ledger, [line])


def _checked(known: Known) -> Known:
    """The same. Raises ValueError for a record that no forecast can use."""
    for record in known.records:
        check_record(record)
    return known


def _start(ledger: Ledger, entry: Entry) -> list[Mapping[str, Any]]:
    """The first line if there is none yet. Raises ValueError if the panel is another one."""
    panel = [member.pinned for member in entry.panel]
    if ledger.start is None:
        start = {
            "kind": "journal",
            "written_at": entry.now().isoformat(),
            "version": VERSION,
            "clock": entry.clock,
            "panel": panel,
            "code_commit": entry.code_commit,
        }
        return [start]
    for pinned in ledger.start["panel"]:
        now = next((member for member in panel if member["name"] == pinned["name"]), None)
        if now != pinned:
            raise ValueError(
                f"the panel of this journal is fixed: {pinned['name']} is "
                f"{_in_words(pinned)}, and now {_in_words(now)}; give what it began with, or "
                "start another JOURNAL"
            )
    extra = {member["name"] for member in panel} - {m["name"] for m in ledger.start["panel"]}
    if extra:
        raise ValueError(
            f"the panel of this journal is fixed, without {', '.join(sorted(extra))}; leave it "
            "out, or start another JOURNAL"
        )
    return []


def _in_words(member: Mapping[str, Any] | None) -> str:
    if member is None:
        return "missing"
    facts = [f"{key} {str(value)[:60]}" for key, value in member.items() if value and key != "name"]
    return ", ".join(facts)


def _closing_lines(ledger: Ledger, entry: Entry, week: str) -> list[Mapping[str, Any]]:
    """The ends of entries of earlier weeks that were interrupted and can no longer go on."""
    open_weeks = {line["week_start"] for line in ledger.forecasts} - ledger.weeks.keys() - {week}
    return [
        _week_line(ledger, entry, open_week, _left_out_of(entry.folder, open_week))
        for open_week in sorted(open_weeks)
    ]


def _left_out_of(folder: Path, week: str) -> dict[str, str]:
    """Why each company of a week's kept inputs would have no forecast, if it has none."""
    never = "the week opened before anything was forecast of it"
    try:
        rows = read_jsonl(_inputs_path(folder, week))[1:]
    except (OSError, ValueError):
        rows = []
    of_records = {str(row.get("symbol")): never for row in rows}
    return {**of_records, **kept_facts(folder, week).left_out}


def _week_line(
    ledger: Ledger, entry: Entry, week: str, left_out: Mapping[str, str]
) -> Mapping[str, Any]:
    """The line that ends the entry of a week, with what is missing of it; `left_out` is symbol ->
    why it has no forecast, if it has none."""
    lines = [line for line in ledger.forecasts if line["week_start"] == week]
    counts = Counter(line["id"] for line in lines)
    there = {line["symbol"] for line in lines}
    panel = ledger.start["panel"] if ledger.start else ()
    partial = [key for key, count in counts.items() if count < len(panel)]
    reason = f"the week opened before the whole panel had forecast {', '.join(partial)}"
    return {
        "kind": "week",
        "written_at": entry.now().isoformat(),
        "week_start": week,
        "forecasts": counts.total(),
        "left_out": {symbol: why for symbol, why in left_out.items() if symbol not in there},
        "unfinished": reason if partial else None,
    }


def _check_same_inputs(ledger: Ledger, week: str, known: Known, path: Path) -> None:
    """Raise ValueError if what is known is not what the forecasts of the week were made from."""
    hashes = {record.id: inputs_sha256(record) for record in known.records}
    for line in ledger.forecasts:
        found = hashes.get(line["id"], "none")
        if line["week_start"] == week and found != line["inputs_sha256"]:
            raise ValueError(
                f"{path}: the hash of the inputs of {line['id']} is {found}; expected "
                f"{line['inputs_sha256']}, from which {line['forecaster']} forecast it: take the "
                "file from a copy, or name what the entry began with"
            )


def _check_same_companies(entry: Entry, known: Known) -> None:
    """Raise ValueError for a named company that is none of those that the entry began with."""
    began_with = {record.symbol for record in known.records} | known.left_out.keys()
    others = sorted(entry.named - began_with)
    if others:
        raise ValueError(
            f"the entry of the week of {entry.week} began with {', '.join(sorted(began_with))}, "
            f"without {', '.join(others)}; it goes on with those: leave SYMBOLS out, or name them"
        )


def _trial_lines(ledger: Ledger, entry: Entry, known: Known) -> list[Mapping[str, Any]]:
    """A forecast of each record that says nothing, to hold against the rules."""
    there = {(line["id"], line["forecaster"]) for line in ledger.forecasts}
    lines: list[Mapping[str, Any]] = []
    for record in known.records:
        names = (member.pinned["name"] for member in entry.panel)
        name = next((name for name in names if (record.id, name) not in there), None)
        if name:
            lines.append(_forecast_line(record, name, Call(None, None, None), entry))
    return lines


def _still_open(known: Known, entry: Entry, ledger: Ledger) -> Known:
    """The companies whose week has not opened.

    Raises ValueError if there is none, unless forecasts of the week are there: then it can end.
    Raises it too if inputs of a company are still open: it would be lost for the week.
    """
    now = entry.now()
    _check_not_early(known, entry, now)
    closed = {record.symbol: _why_closed(record, now) for record in known.records}
    left_out = {**known.left_out, **{symbol: why for symbol, why in closed.items() if why}}
    records = [record for record in known.records if record.symbol not in left_out]
    begun = any(line["week_start"] == str(entry.week) for line in ledger.forecasts)
    if not records and not begun:
        raise ValueError(
            f"nothing is entered for the week of {entry.week}: {_why_none(known, left_out, now)}"
        )
    return replace(known, records=records, left_out=left_out)


def _check_not_early(known: Known, entry: Entry, now: datetime) -> None:
    early = [
        record
        for record in known.records
        if (opens := opens_at(record)) and now < moment(record.decision_time) < moment(opens)
    ]
    if early:
        last = max(early, key=lambda record: moment(record.decision_time))
        raise ValueError(
            f"nothing is entered for the week of {entry.week}: the inputs of {last.symbol} close "
            f"at {last.decision_time}, and the clock says {now.isoformat()}; enter from then on, "
            "until the first session opens"
        )


def _why_none(known: Known, left_out: Mapping[str, str], now: datetime) -> str:
    """Why no company is left, and the remedy: of the clock only if it is the reason."""
    by_time = {record.symbol: _out_of_time(record, now) for record in known.records}
    late = [symbol for symbol, reason in by_time.items() if reason == left_out[symbol]]
    if late:
        return (
            f"{late[0]}: {by_time[late[0]]}, and the clock says {now.isoformat()}; entries are "
            "taken from Sunday until the first session opens"
        )
    symbol, reason = next(iter(left_out.items()), ("no company", "none was named"))
    return f"{symbol}: {reason}; name companies that can be forecast"


def _why_closed(record: Record, now: datetime) -> str | None:
    """Why no forecast of the record is entered at this time; None if it is."""
    opens = opens_at(record)
    if opens is None:
        return "no session in the week"
    if moment(opens) <= moment(record.decision_time):
        return (
            "it trades day and night, so its week opens when its inputs close, and no forecast can "
            "be entered in between; make forecast takes it"
        )
    return _out_of_time(record, now)


def _out_of_time(record: Record, now: datetime) -> str | None:
    """Why it is too early or too late for a forecast of the record; None if it is not."""
    opens = opens_at(record)
    if now < moment(record.decision_time):
        return f"its inputs close at {record.decision_time}"
    return f"its first session opened at {opens}" if opens and now >= moment(opens) else None


def opens_at(record: Record) -> str | None:
    """When the first session of the record's week opens, ISO 8601 in UTC; None without one.

    A fictional market trades from Monday, 00:00 UTC, on.
    """
    start = date.fromisoformat(record.week_start)
    if record.extra.get("synthetic"):
        return f"{start + timedelta(days=1)}T00:00:00+00:00"
    return first_open(exchange_of(record.symbol), start)


def _forecast(ledger: Ledger, entry: Entry, member: Member, records: Sequence[Record]) -> Ledger:
    """Append the forecasts of a member that are missing, each when it is made.

    Raises ValueError if a week opens meanwhile, and what the member raises.
    """
    name = member.pinned["name"]
    there = {line["id"] for line in ledger.forecasts if line["forecaster"] == name}
    missing = [record for record in records if record.id not in there]

    def append(number: int, call: Call) -> None:
        nonlocal ledger
        line = _forecast_line(missing[number], name, call, entry)
        if moment(line["written_at"]) >= moment(line["opens_at"]):
            raise ValueError(
                f"the first session of {line['symbol']} opened at {line['opens_at']}, before "
                "the panel was through: the forecasts that were made in time stay"
            )
        ledger = append_lines(entry.folder, ledger, [line])

    member.forecast(missing, append)
    return ledger


def _forecast_line(record: Record, name: str, call: Call, entry: Entry) -> Mapping[str, Any]:
    return {
        "kind": "forecast",
        "written_at": entry.now().isoformat(),
        "id": record.id,
        "symbol": record.symbol,
        "week_start": record.week_start,
        "week_end": record.week_end,
        "forecaster": name,
        "direction": call.direction,
        "prediction": call.prediction,
        "probabilities": call.probabilities,
        "inputs_sha256": inputs_sha256(record),
        "decision_time": record.decision_time,
        "opens_at": opens_at(record),
        "code_commit": entry.code_commit,
    }


_DECIMALS = 6


def inputs_sha256(record: Record) -> str:
    """The SHA-256, in hex, of what the panel sees, as JSON with sorted keys: the prompt's messages
    and last week's return, which baselines repeat.

    The return has six decimals: a later split or dividend restates prices, and moves the digits
    behind them.
    """
    last = record.last_week_return
    seen = {
        "prompt": render_prompt(record),
        "last_week_return": None if last is None else round(last, _DECIMALS),
    }
    text = json.dumps(seen, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _inputs_path(folder: Path, week: str) -> Path:
    return folder / INPUTS / f"{week}.jsonl"


def _write_inputs(path: Path, known: Known) -> None:
    rows = [record.to_json() for record in known.records]
    facts = {"left_out": known.left_out, "sources": dict(known.sources), "notes": list(known.notes)}
    write_jsonl(path, [facts, *rows])


def _read_inputs(path: Path) -> Known:
    """What `_write_inputs` wrote, checked as if it were new.

    Raises ValueError for a file that was changed since.
    """
    try:
        first, *rows = read_jsonl(path)
        facts = _facts_of(first)
        records = [Record.from_json(row) for row in rows]
        check_each_once(records, path)
        for record in records:
            if record.week_start != path.stem:
                raise ValueError(f"{record.id} is not of the week of {path.stem}")
            check_record(record)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not as it was written; remove it, and the inputs are gathered again "
            f"({error})"
        ) from None
    return replace(facts, records=records)


def _facts_of(first: Row) -> Known:
    """The first row of kept inputs; older ones have no sources and notes."""
    check_shape(first, KeptInputs, "row 1", "enter the week again")
    return Known([], first["left_out"], first.get("sources", {}), first.get("notes", ()))


def kept_facts(folder: Path, week: str) -> Known:
    """What stands beside the records of a week; nothing if its inputs are not there."""
    path = _inputs_path(folder, week)
    try:
        return _facts_of(next(iter_jsonl(path)))
    except (OSError, ValueError, StopIteration):
        return Known([], {})
