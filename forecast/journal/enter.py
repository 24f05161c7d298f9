"""Entering a week: inputs that end at its decision time, and the panel's forecasts before it opens.

Inputs are gathered once and kept beside the ledger, so that an entry that was interrupted goes on
with the same ones. Each forecast is appended as soon as it is made.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from data_pipeline.records.calendar import exchange_of, first_open, sunday_on_or_before
from forecast.company.inputs import Known, check_each_once
from forecast.journal.ledger import Ledger, append_lines
from forecast.journal.panel import Call, Member
from weekahead.files import read_jsonl, write_jsonl
from weekahead.schema.journal import VERSION, Clock
from weekahead.task.prompt import render_prompt
from weekahead.task.record import Record, moment

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

    @property
    def week(self) -> date:
        """The Sunday of the week under way."""
        return sunday_on_or_before(self.now().date())


def enter(ledger: Ledger, entry: Entry, gather: Callable[[], Known]) -> Ledger:
    """Append what is missing of the entry of the week under way, and return the ledger.

    `gather` is asked for what is known unless the entry was begun before. Raises what it raises,
    and ValueError if the panel is not the journal's, if no company can be forecast any more, or if
    the week opens meanwhile: what was entered by then stays.
    """
    week = entry.week.isoformat()
    ledger = _close_unfinished(ledger, entry, week)
    path = entry.folder / INPUTS / f"{week}.jsonl"
    known = _still_open(_read_inputs(path) if path.exists() else gather(), entry)
    ledger = _started(ledger, entry)
    if not path.exists():
        _write_inputs(path, known)
    for member in entry.panel:
        ledger = _forecast(ledger, entry, member, known.records)
    return append_lines(entry.folder, ledger, [_week_line(ledger, entry, week, known.left_out)])


def _started(ledger: Ledger, entry: Entry) -> Ledger:
    """The ledger with its first line. Raises ValueError if the panel is another one."""
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
        return append_lines(entry.folder, ledger, [start])
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
    return ledger


def _in_words(member: Mapping[str, Any] | None) -> str:
    if member is None:
        return "missing"
    facts = [f"{key} {str(value)[:60]}" for key, value in member.items() if value and key != "name"]
    return ", ".join(facts)


def _close_unfinished(ledger: Ledger, entry: Entry, week: str) -> Ledger:
    """End the entry of an earlier week that was interrupted and can no longer go on."""
    open_weeks = {line["week_start"] for line in ledger.forecasts} - ledger.weeks.keys() - {week}
    for open_week in sorted(open_weeks):
        ledger = append_lines(entry.folder, ledger, [_week_line(ledger, entry, open_week, {})])
    return ledger


def _week_line(
    ledger: Ledger, entry: Entry, week: str, left_out: Mapping[str, str]
) -> Mapping[str, Any]:
    """The line that ends the entry of a week, with what is missing of it."""
    counts = Counter(line["id"] for line in ledger.forecasts if line["week_start"] == week)
    partial = [key for key, count in counts.items() if count < len(entry.panel)]
    reason = f"the week opened before the whole panel had forecast {', '.join(partial)}"
    return {
        "kind": "week",
        "written_at": entry.now().isoformat(),
        "week_start": week,
        "forecasts": counts.total(),
        "left_out": dict(left_out),
        "unfinished": reason if partial else None,
    }


def _still_open(known: Known, entry: Entry) -> Known:
    """The companies whose week has not opened. Raises ValueError if there is none."""
    now = entry.now()
    closed = {record.symbol: _why_closed(record, now) for record in known.records}
    left_out = {**known.left_out, **{symbol: why for symbol, why in closed.items() if why}}
    records = [record for record in known.records if record.symbol not in left_out]
    if not records:
        symbol, reason = next(iter(left_out.items()), ("no company", "none was named"))
        raise ValueError(
            f"nothing is entered for the week of {entry.week} ({symbol}: {reason}; the clock says "
            f"{now.isoformat()}): entries are taken from Sunday until the first session opens"
        )
    return Known(records, left_out)


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
    if now < moment(record.decision_time):
        return f"its inputs close at {record.decision_time}"
    return f"its first session opened at {opens}" if now >= moment(opens) else None


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


def inputs_sha256(record: Record) -> str:
    """The SHA-256, in hex, of the prompt's messages as JSON with sorted keys."""
    text = json.dumps(render_prompt(record), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _write_inputs(path: Path, known: Known) -> None:
    rows = [record.to_json() for record in known.records]
    write_jsonl(path, [{"left_out": known.left_out}, *rows])


def _read_inputs(path: Path) -> Known:
    """What `_write_inputs` wrote. Raises ValueError for a file that was changed since."""
    try:
        first, *rows = read_jsonl(path)
        records = [Record.from_json(row) for row in rows]
        left_out = dict(first["left_out"])
        check_each_once(records, path)
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is not as it was written; remove it, and the inputs are gathered again"
        ) from None
    return Known(records, left_out)
