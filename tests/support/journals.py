"""Small made-up journals, written through the ledger's own append."""

from datetime import date, timedelta

from forecast.journal.ledger import Ledger, append_lines
from weekahead.schema.journal import VERSION
from weekahead.task.labels import BINS, direction_of, label_of_return

SUNDAY = date(2031, 1, 5)
SYMBOLS = ("AAA", "BBB", "CCC")
PANEL = ("adapter", "always_up")


def member(name):
    """A member of a panel."""
    nothing = dict.fromkeys(("adapter", "adapter_sha256", "base", "base_revision", "asked"))
    kind = "model" if name == "adapter" else "baseline"
    return {"name": name, "kind": kind, **nothing, "dataset_sha256": None}


def start(panel=PANEL):
    """The first line, without `previous`."""
    return {
        "kind": "journal",
        "written_at": f"{SUNDAY}T12:00:00+00:00",
        "version": VERSION,
        "clock": "simulated",
        "panel": [member(name) for name in panel],
        "code_commit": "c0de",
    }


def forecast(symbol, week, forecaster="adapter", label="up by 0-1%", **change):
    """A forecast of the week that begins `week` Sundays after SUNDAY; `label` may be None."""
    sunday = SUNDAY + timedelta(weeks=week)
    up = 0.5 if label is None else 0.8 if direction_of(label) > 0 else 0.2
    share = {label: (up if direction_of(label) > 0 else 1 - up) / 6 for label in BINS}
    line = {
        "kind": "forecast",
        "written_at": f"{sunday}T12:00:00+00:00",
        "id": f"{symbol}-{sunday}",
        "symbol": symbol,
        "week_start": str(sunday),
        "week_end": str(sunday + timedelta(weeks=1)),
        "forecaster": forecaster,
        "direction": direction_of(label) if label else None,
        "prediction": label,
        "probabilities": share,
        "inputs_sha256": "ab" * 32,
        "decision_time": f"{sunday}T00:00:00+00:00",
        "opens_at": f"{sunday + timedelta(days=1)}T00:00:00+00:00",
        "code_commit": "c0de",
    }
    return line | change


def week_end(week, forecasts, **change):
    """The line that ends the entry of a week."""
    sunday = SUNDAY + timedelta(weeks=week)
    line = {
        "kind": "week",
        "written_at": f"{sunday}T12:00:00+00:00",
        "week_start": str(sunday),
        "forecasts": forecasts,
        "left_out": {},
        "unfinished": None,
    }
    return line | change


def outcome(symbol, week, weekly_return, **change):
    """What happened in a week, written on the Sunday after it."""
    sunday = SUNDAY + timedelta(weeks=week)
    line = {
        "kind": "return",
        "written_at": f"{sunday + timedelta(weeks=1)}T12:00:00+00:00",
        "id": f"{symbol}-{sunday}",
        "symbol": symbol,
        "week_start": str(sunday),
        "weekly_return": weekly_return,
        "label": label_of_return(weekly_return),
        "sources": {"records": weekly_return},
        "doubt": None,
    }
    return line | change


def facts(weeks=3, symbols=SYMBOLS, panel=PANEL):
    """The lines of a journal with `weeks` weeks entered and all but the last one settled."""
    lines = [start(panel)]
    for week in range(weeks):
        if week:
            lines += [outcome(symbol, week - 1, 0.012) for symbol in symbols]
        lines += [forecast(symbol, week, name) for symbol in symbols for name in panel]
        lines.append(week_end(week, len(symbols) * len(panel)))
    return lines


def write(folder, lines=None):
    """The ledger of `lines` in `folder`."""
    return append_lines(folder, Ledger(), facts() if lines is None else lines)
