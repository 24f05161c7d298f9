"""Whether a ledger is what a journal writes: every line in its place and in its time.

The chain alone shows that no line was changed; these rules show that each line was allowed when it
was written. A published head shows that the whole ledger up to it was not written anew.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, cast, get_args

from data_pipeline.records.calendar import WEEK, exchange_of, first_open, sunday_on_or_before
from forecast.journal.ledger import BrokenLedger, Ledger
from weekahead.schema.journal import (
    VERSION,
    AnyLine,
    Clock,
    CorrectionLine,
    Forecaster,
    ForecastLine,
    JournalLine,
    ReturnLine,
    WeekLine,
)
from weekahead.task.labels import BINS, direction_of, label_of_return
from weekahead.task.record import moment

_ROUNDING = 1e-6
"""How far probabilities that were written may be from adding up to 1."""


class _Breach(Exception):
    """What is wrong with a line."""


@dataclass
class _Seen:
    """What the lines so far have said."""

    panel: tuple[str, ...] = ()
    clock: Clock = "machine"
    written_at: str = ""
    open_week: str | None = None
    """The week that is being entered."""
    entry: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(id, forecaster) of the forecasts of the open week."""
    entered: set[str] = field(default_factory=set[str])
    """Weeks whose entry has ended."""
    ends: dict[str, str] = field(default_factory=dict[str, str])
    """Id -> end of its week, of all that was forecast."""
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    """Id -> hash of the line that holds for it."""


def check(ledger: Ledger, name: str) -> None:
    """Raise BrokenLedger for the first line that a journal would not have written.

    That is: a second start, a forecast outside its time, of an unknown forecaster or made twice, a
    week whose forecasts are not all there, a return before its week has ended or of nothing that
    was forecast, a correction of another line, or a time before that of the line above.
    """
    seen = _Seen()
    for number, (line, digest) in enumerate(zip(ledger.lines, ledger.hashes, strict=True), start=1):
        try:
            _check_place(seen, line)
            _CHECKS[line["kind"]](seen, line, digest)
        except _Breach as breach:
            raise BrokenLedger(f"{name}, line {number}: {breach}") from None
        seen.written_at = line["written_at"]


def check_head(ledger: Ledger, head: str, name: str) -> int:
    """How many lines were written after the published `head`.

    Raises ValueError if it is no hash, BrokenLedger if no line has it.
    """
    wanted = head.strip().lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise ValueError(
            f"HEAD is {head!r:.80}; expected the 64 hex digits that journal-enter, journal-settle "
            "and the page show"
        )
    if wanted not in ledger.hashes:
        raise BrokenLedger(
            f"{name}, line {len(ledger.lines)}: no line up to this last one has the published hash "
            f"{wanted}: lines were cut off or written anew since it was published"
        )
    return len(ledger.hashes) - 1 - ledger.hashes.index(wanted)


def _check_place(seen: _Seen, line: AnyLine) -> None:
    is_first = not seen.written_at
    if is_first != (line["kind"] == "journal"):
        raise _Breach("a ledger begins with its one line of kind journal; this one is out of place")
    if not is_first and moment(line["written_at"]) < moment(seen.written_at):
        raise _Breach(f"written at {line['written_at']}, before the line above ({seen.written_at})")


def _check_journal(seen: _Seen, line: AnyLine, _digest: str) -> None:
    start = cast("JournalLine", line)
    if start["version"] != VERSION:
        raise _Breach(f"version is {start['version']}; this code reads version {VERSION}")
    if start["clock"] not in get_args(Clock):
        raise _Breach(f"clock is {start['clock']!r}; expected {' or '.join(get_args(Clock))}")
    seen.clock = start["clock"]
    seen.panel = tuple(_names(start["panel"]))


def _names(panel: list[Forecaster]) -> list[str]:
    names = [member["name"] for member in panel]
    if not names or len(set(names)) < len(names):
        raise _Breach(f"the panel is {names}; expected one forecaster or more, each once")
    return names


def _check_forecast(seen: _Seen, line: AnyLine, _digest: str) -> None:
    forecast = cast("ForecastLine", line)
    week, name = forecast["week_start"], forecast["forecaster"]
    if name not in seen.panel:
        raise _Breach(f"{name} is not of the panel ({', '.join(seen.panel)})")
    if forecast["id"] != f"{forecast['symbol']}-{week}":
        raise _Breach(f"id is {forecast['id']}, of {forecast['symbol']} in the week of {week}")
    if (forecast["id"], name) in seen.entry:
        raise _Breach(f"{name} forecast {forecast['id']} before")
    if week in seen.entered:
        raise _Breach(f"the entry of the week of {week} had ended")
    if seen.open_week not in (None, week):
        raise _Breach(f"the line that ends the week of {seen.open_week} is missing before it")
    _check_time(forecast)
    if seen.clock == "machine":
        _check_opening(forecast)
    _check_values(forecast)
    seen.open_week = week
    seen.entry.add((forecast["id"], name))
    seen.ends[forecast["id"]] = forecast["week_end"]


def _check_time(forecast: ForecastLine) -> None:
    written, opens = moment(forecast["written_at"]), moment(forecast["opens_at"])
    if written < moment(forecast["decision_time"]):
        raise _Breach(
            f"written at {forecast['written_at']}, before its decision time "
            f"({forecast['decision_time']})"
        )
    if written >= opens:
        raise _Breach(
            f"late: written at {forecast['written_at']}, and the first session of the week opened "
            f"at {forecast['opens_at']}"
        )
    if opens >= moment(forecast["week_end"]):
        raise _Breach(
            f"its first session opens at {forecast['opens_at']}, after the week that ends on "
            f"{forecast['week_end']}"
        )
    start, end = (date.fromisoformat(forecast[key]) for key in ("week_start", "week_end"))
    if sunday_on_or_before(start) != start or end - start != WEEK:
        raise _Breach(f"its week is {start} to {end}; expected Sunday to Sunday")


def _check_opening(forecast: ForecastLine) -> None:
    """A line may not say that its week opens later than its exchange's calendar has it."""
    opens = _opening(forecast["symbol"], date.fromisoformat(forecast["week_start"]))
    if opens and moment(forecast["opens_at"]) > moment(opens):
        raise _Breach(
            f"it says that its week opens at {forecast['opens_at']}, but {forecast['symbol']} "
            f"opened at {opens}"
        )


@cache
def _opening(symbol: str, week: date) -> str | None:
    """When the week opens; None without a session, or a calendar that knows the week."""
    try:
        return first_open(exchange_of(symbol), week)
    except ValueError:
        return None


def _check_values(forecast: ForecastLine) -> None:
    direction, prediction = forecast["direction"], forecast["prediction"]
    if direction not in (None, -1, 1) or prediction not in (None, *BINS):
        raise _Breach(
            f"direction {direction}, prediction {prediction!r}: expected 1, -1 or null, and a bin "
            "or null"
        )
    if direction and prediction and direction_of(prediction) != direction:
        raise _Breach(f"direction is {direction}, and the prediction {prediction!r}")
    probabilities = forecast["probabilities"]
    if probabilities is None:
        return
    shares = list(probabilities.values())
    add_up = all(share >= 0 for share in shares) and abs(sum(shares) - 1) <= _ROUNDING
    if set(probabilities) != set(BINS) or not add_up:
        raise _Breach("probabilities: expected those of the twelve bins, which add up to 1")


def _check_week(seen: _Seen, line: AnyLine, _digest: str) -> None:
    week = cast("WeekLine", line)
    start = week["week_start"]
    if start in seen.entered:
        raise _Breach(f"the entry of the week of {start} had ended before")
    if seen.open_week not in (None, start):
        raise _Breach(f"the line that ends the week of {seen.open_week} is missing before it")
    count, symbols = len(seen.entry), len({symbol for symbol, _ in seen.entry})
    if count != week["forecasts"]:
        raise _Breach(f"it states {week['forecasts']} forecasts of the week, {count} are there")
    if not week["unfinished"] and count != symbols * len(seen.panel):
        raise _Breach(
            f"{count} forecasts of the week for {symbols} symbols and a panel of "
            f"{len(seen.panel)}: forecasts are missing"
        )
    seen.entered.add(start)
    seen.entry = set()
    seen.open_week = None


def _check_return(seen: _Seen, line: AnyLine, digest: str) -> None:
    outcome = cast("ReturnLine", line)
    if outcome["id"] in seen.outcomes:
        raise _Breach(f"{outcome['id']} has a return already; a change of it is a correction")
    _check_outcome(seen, outcome)
    seen.outcomes[outcome["id"]] = digest


def _check_correction(seen: _Seen, line: AnyLine, digest: str) -> None:
    correction = cast("CorrectionLine", line)
    held = seen.outcomes.get(correction["id"])
    if held is None or held != correction["corrects"]:
        raise _Breach(
            f"it corrects {correction['corrects']:.12}..., which is not the line that held for "
            f"{correction['id']}"
        )
    _check_outcome(seen, correction)
    seen.outcomes[correction["id"]] = digest


def _check_outcome(seen: _Seen, outcome: ReturnLine) -> None:
    end = seen.ends.get(outcome["id"])
    if end is None:
        raise _Breach(f"nothing was forecast for {outcome['id']}")
    if moment(outcome["written_at"]) < moment(end):
        raise _Breach(f"written at {outcome['written_at']}, before the week ended ({end})")
    value = outcome["weekly_return"]
    if not all(map(_is_return, (value, *outcome["sources"].values()))):
        raise _Breach(f"weekly_return is {value}, sources {outcome['sources']}; expected returns")
    right = None if outcome["doubt"] else label_of_return(value)
    if outcome["label"] != right:
        raise _Breach(f"label is {outcome['label']!r}, and that of its return {right!r}")


def _is_return(value: float) -> bool:
    return math.isfinite(value) and value >= -1


_CHECKS: dict[str, Callable[[_Seen, Any, str], None]] = {
    "journal": _check_journal,
    "forecast": _check_forecast,
    "week": _check_week,
    "return": _check_return,
    "correction": _check_correction,
}
