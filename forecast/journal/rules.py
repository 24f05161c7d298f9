"""What a line of a ledger must be, in its place and in its time: who reads one and who writes one
ask the same rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from typing import Any, cast, get_args

from data_pipeline.records.calendar import WEEK, exchange_of, first_open, latest_decision
from weekahead.schema.journal import (
    DAYS,
    TIMES,
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
from weekahead.task.labels import BINS, RETURNS, direction_of, is_return, label_of_return
from weekahead.task.times import moment, read_day

_ROUNDING = 1e-6
"""How far probabilities that were written may be from adding up to 1."""


_APART = 0.005
"""Two sources whose returns differ by more than this fraction contradict each other."""
_CORRECTED = 0.0005
"""A return that moves by less than this, within its bin, is rounding."""


class Breach(Exception):
    """What is wrong with a line."""


@dataclass
class Seen:
    """What the lines so far have said."""

    panel: tuple[str, ...] = ()
    clock: Clock = "machine"
    written_at: str = ""
    open_week: str | None = None
    """The week that is being entered."""
    entry: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(id, forecaster) of the forecasts of the open week."""
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    """Id -> hash of its inputs, of the open week."""
    entered: set[str] = field(default_factory=set[str])
    """Weeks whose entry has ended."""
    ends: dict[str, str] = field(default_factory=dict[str, str])
    """Id -> end of its week, of all that was forecast."""
    outcomes: dict[str, tuple[int, ReturnLine]] = field(
        default_factory=dict[str, tuple[int, ReturnLine]]
    )
    """Id -> place of the line that holds for it, and the line."""
    lines: int = 0

    def copy(self) -> "Seen":
        """The same, to go on from; this one stays."""
        return replace(
            self,
            entry=set(self.entry),
            inputs=dict(self.inputs),
            entered=set(self.entered),
            ends=dict(self.ends),
            outcomes=dict(self.outcomes),
        )


def check_times(line: Mapping[str, Any]) -> None:
    """Raise ValueError naming what should be a time or a day, and is none."""
    for name in TIMES:
        if name in line:
            moment(line[name], name)
    for name in DAYS:
        if name in line:
            read_day(line[name], name)


def allow(seen: Seen, line: AnyLine, hashes: Sequence[str]) -> None:
    """Take the next line into what was seen. Raises Breach if it may not come here.

    `hashes` are those of the lines before it, at least.
    """
    _check_place(seen, line)
    _CHECKS[line["kind"]](seen, line, hashes)
    seen.written_at = line["written_at"]
    seen.lines += 1


def _check_place(seen: Seen, line: AnyLine) -> None:
    is_first = not seen.written_at
    if is_first != (line["kind"] == "journal"):
        raise Breach("a ledger begins with its one line of kind journal; this one is out of place")
    if not is_first and moment(line["written_at"]) < moment(seen.written_at):
        raise Breach(f"written at {line['written_at']}, before the line above ({seen.written_at})")


def _check_journal(seen: Seen, line: AnyLine, _hashes: Sequence[str]) -> None:
    start = cast("JournalLine", line)
    if start["version"] != VERSION:
        raise Breach(f"version is {start['version']!r:.60}; this code reads version {VERSION}")
    if start["clock"] not in get_args(Clock):
        raise Breach(f"clock is {start['clock']!r:.60}; expected {' or '.join(get_args(Clock))}")
    seen.clock = start["clock"]
    seen.panel = tuple(_names(start["panel"]))


def _names(panel: list[Forecaster]) -> list[str]:
    nameless = [member for member in panel if not member.get("name") or "kind" not in member]
    if nameless:
        raise Breach(
            f"a forecaster of the panel is {nameless[0]!r:.60}; expected a name and a kind"
        )
    names = [member["name"] for member in panel]
    if not names or len(set(names)) < len(names):
        raise Breach(f"the panel is {names}; expected one forecaster or more, each once")
    return names


def _check_forecast(seen: Seen, line: AnyLine, _hashes: Sequence[str]) -> None:
    forecast = cast("ForecastLine", line)
    week, name = forecast["week_start"], forecast["forecaster"]
    if name not in seen.panel:
        raise Breach(f"{name} is not of the panel ({', '.join(seen.panel)})")
    if forecast["id"] != f"{forecast['symbol']}-{week}":
        raise Breach(f"id is {forecast['id']}, of {forecast['symbol']} in the week of {week}")
    if (forecast["id"], name) in seen.entry:
        raise Breach(f"{name} forecast {forecast['id']} before")
    if week in seen.entered:
        raise Breach(f"the entry of the week of {week} had ended")
    if seen.open_week not in (None, week):
        raise Breach(f"the line that ends the week of {seen.open_week} is missing before it")
    inputs = seen.inputs.get(forecast["id"], forecast["inputs_sha256"])
    if forecast["inputs_sha256"] != inputs:
        raise Breach(
            f"inputs_sha256 of {forecast['id']} is {forecast['inputs_sha256']!r:.60}, and another "
            f"forecaster had {inputs!r:.60}"
        )
    _check_time(forecast)
    if seen.clock == "machine":
        _check_opening(forecast)
    _check_decision(forecast, seen.clock)
    _check_values(forecast)
    seen.open_week = week
    seen.inputs[forecast["id"]] = inputs
    seen.entry.add((forecast["id"], name))
    seen.ends[forecast["id"]] = forecast["week_end"]


def _check_time(forecast: ForecastLine) -> None:
    written, opens = moment(forecast["written_at"]), moment(forecast["opens_at"])
    if written < moment(forecast["decision_time"]):
        raise Breach(
            f"written at {forecast['written_at']}, before its decision time "
            f"({forecast['decision_time']})"
        )
    if written >= opens:
        raise Breach(
            f"late: written at {forecast['written_at']}, and the first session of the week opened "
            f"at {forecast['opens_at']}"
        )
    if opens >= moment(forecast["week_end"]):
        raise Breach(
            f"its first session opens at {forecast['opens_at']}, after the week that ends on "
            f"{forecast['week_end']}"
        )
    start, end = (date.fromisoformat(forecast[key]) for key in ("week_start", "week_end"))
    if start.isoweekday() != 7 or end - start != WEEK:
        raise Breach(f"its week is {start} to {end}; expected Sunday to Sunday")


def _check_decision(forecast: ForecastLine, clock: Clock) -> None:
    """A late decision would excuse every fact. A rehearsal's market may be fictional, in UTC."""
    week = date.fromisoformat(forecast["week_start"])
    latest = _latest_decision(forecast["symbol"], week, synthetic=False)
    if clock == "simulated":
        latest = max(latest, _latest_decision(forecast["symbol"], week, synthetic=True))
    if moment(forecast["decision_time"]) > latest:
        raise Breach(
            f"its decision time is {forecast['decision_time']}; expected {latest.isoformat()}, "
            "when its week begins, or earlier"
        )


_latest_decision = cache(latest_decision)


def _check_opening(forecast: ForecastLine) -> None:
    """A line may not say that its week opens later than its exchange's calendar has it.

    Without a calendar the week opens on Monday, 00:00 UTC, as that of a fictional market.
    """
    week = date.fromisoformat(forecast["week_start"])
    known = _opening(forecast["symbol"], week)
    opens = known or f"{week + timedelta(days=1)}T00:00:00+00:00"
    if moment(forecast["opens_at"]) > moment(opens):
        where = "" if known else ", where no calendar has its exchange and week"
        raise Breach(
            f"it says that its week opens at {forecast['opens_at']}, but {forecast['symbol']} "
            f"opened at {opens}{where}"
        )


@cache
def _opening(symbol: str, week: date) -> str | None:
    """When the week opens; None without a session, or a calendar that knows the week."""
    try:
        return first_open(exchange_of(symbol), week)
    except (ValueError, OverflowError):
        return None


def _check_values(forecast: ForecastLine) -> None:
    direction, prediction = forecast["direction"], forecast["prediction"]
    is_whole = direction is None or isinstance(direction, int)
    if not is_whole or direction not in (None, -1, 1) or prediction not in (None, *BINS):
        raise Breach(
            f"direction {direction!r:.60}, prediction {prediction!r:.60}: expected 1, -1 or null, "
            "and a bin or null"
        )
    if direction and prediction and direction_of(prediction) != direction:
        raise Breach(f"direction is {direction}, and the prediction {prediction!r}")
    probabilities = forecast["probabilities"]
    if probabilities is None:
        return
    shares = list(probabilities.values())
    add_up = all(0 <= share <= 2 for share in shares) and abs(sum(shares) - 1) <= _ROUNDING
    if set(probabilities) != set(BINS) or not add_up:
        raise Breach("probabilities: expected those of the twelve bins, which add up to 1")


def _check_week(seen: Seen, line: AnyLine, _hashes: Sequence[str]) -> None:
    week = cast("WeekLine", line)
    start = week["week_start"]
    if date.fromisoformat(start).isoweekday() != 7:
        raise Breach(f"week_start is {start}; expected a Sunday, such as 2031-01-05")
    if start in seen.entered:
        raise Breach(f"the entry of the week of {start} had ended before")
    if seen.open_week not in (None, start):
        raise Breach(f"the line that ends the week of {seen.open_week} is missing before it")
    count, symbols = len(seen.entry), len({symbol for symbol, _ in seen.entry})
    if count != week["forecasts"]:
        raise Breach(
            f"it states {week['forecasts']!r:.60} forecasts of the week, {count} are there"
        )
    if not week["unfinished"] and count != symbols * len(seen.panel):
        raise Breach(
            f"{count} forecasts of the week for {symbols} symbols and a panel of "
            f"{len(seen.panel)}: forecasts are missing"
        )
    seen.entered.add(start)
    seen.entry, seen.inputs = set(), {}
    seen.open_week = None


def _check_return(seen: Seen, line: AnyLine, _hashes: Sequence[str]) -> None:
    outcome = cast("ReturnLine", line)
    if outcome["id"] in seen.outcomes:
        raise Breach(f"{outcome['id']} has a return already; a change of it is a correction")
    _check_outcome(seen, outcome)
    seen.outcomes[outcome["id"]] = seen.lines, outcome


def _check_correction(seen: Seen, line: AnyLine, hashes: Sequence[str]) -> None:
    correction = cast("CorrectionLine", line)
    place, held = seen.outcomes.get(correction["id"], (0, None))
    if held is None or hashes[place] != correction["corrects"]:
        raise Breach(
            f"it corrects {correction['corrects']:.12}..., which is not the line that held for "
            f"{correction['id']}"
        )
    _check_outcome(seen, correction)
    if not is_correction(held, correction):
        raise Breach(
            f"it says of {correction['id']} what the line that held for it says, or lacks one of "
            "its sources"
        )
    seen.outcomes[correction["id"]] = seen.lines, correction


def _check_outcome(seen: Seen, outcome: ReturnLine) -> None:
    end = seen.ends.get(outcome["id"])
    if end is None:
        raise Breach(f"nothing was forecast for {outcome['id']}")
    if outcome["id"] != f"{outcome['symbol']}-{outcome['week_start']}":
        raise Breach(
            f"id is {outcome['id']}, of {outcome['symbol']} in the week of {outcome['week_start']}"
        )
    if moment(outcome["written_at"]) < moment(end):
        raise Breach(f"written at {outcome['written_at']}, before the week ended ({end})")
    value = outcome["weekly_return"]
    if not all(map(is_return, (value, *outcome["sources"].values()))):
        raise Breach(
            f"weekly_return is {value!r:.60}, sources {outcome['sources']!r:.60}; expected "
            f"returns, each {RETURNS}"
        )
    doubt = doubt_of(outcome["sources"]) if outcome["sources"] else None
    if bool(doubt) != bool(outcome["doubt"]):
        raise Breach(f"doubt is {outcome['doubt']!r:.60}, and that of its sources {doubt!r:.80}")
    right = None if doubt else label_of_return(value)
    if outcome["label"] != right:
        raise Breach(f"label is {outcome['label']!r:.60}, and that of its return {right!r}")
    if next(iter(outcome["sources"].values()), None) != value:
        raise Breach(
            f"weekly_return is {value}, sources {outcome['sources']!r:.60}; expected the return of "
            "the first source"
        )


def doubt_of(sources: Mapping[str, float]) -> str | None:
    """Why sources of a return give no label; None if they agree on the direction and nearly on the
    size."""
    values = list(sources.values())
    directions = {direction_of(label_of_return(value)) for value in values}
    if len(directions) == 1 and max(values) - min(values) <= _APART:
        return None
    said = ", ".join(f"{source} {value:+.4f}" for source, value in sources.items())
    return f"the sources contradict each other: {said}"


def is_correction(old: ReturnLine, new: ReturnLine) -> bool:
    """Whether `new` corrects `old`; it cannot if it lacks one of its sources."""
    return old["sources"].keys() <= new["sources"].keys() and differs(old, new)


def differs(old: ReturnLine, new: ReturnLine) -> bool:
    """Whether two lines state another return, by more than rounding, or another label."""
    moved = abs(old["weekly_return"] - new["weekly_return"]) > _CORRECTED
    return moved or old["label"] != new["label"]


_CHECKS: dict[str, Callable[[Seen, Any, Sequence[str]], None]] = {
    "journal": _check_journal,
    "forecast": _check_forecast,
    "week": _check_week,
    "return": _check_return,
    "correction": _check_correction,
}
