"""What the page shows as HTML: inputs with their links, the price, answers, probabilities, the
record.

Every text is escaped: headlines and answers are written by others.
"""

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from forecast.browser.asking import Column, View
from forecast.company.call import up_share
from forecast.company.history import WeekMove
from forecast.company.result import NOT_IN_INPUTS, call_sentence, marked_answer
from weekahead.schema.forecasts import ForecastFile
from weekahead.task.labels import BINS, label_of_return
from weekahead.visible import shown

if TYPE_CHECKING:
    from jinja2 import Environment

_DRAWN = 52
"""So many past weeks are drawn at most."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 472.0, 12.0, 140.0
"""The frame of the price, in the picture's own units (480 by 170)."""
_WRITTEN, _ASKED, _WAITS = "Being written.", "The model is being asked.", "Waits for its turn."
_STOPPED = "Stopped."
_FULL = 100.0
"""Percent of the widest bar."""


@dataclass(frozen=True)
class PricePicture:
    """Weekly closes as a line; the weeks that the prompt shows stand on a band."""

    line: str
    """Points of a polyline."""
    dots: tuple[tuple[float, float, str], ...]
    """(x, y, text) of the weeks that the prompt shows."""
    band: tuple[float, float]
    """Left and width."""
    levels: tuple[tuple[float, str], ...]
    """(y, price) of the lowest and the highest close."""
    days: tuple[tuple[float, str, str], ...]
    """(x, text-anchor, date) under the line."""
    told: str
    """The picture in words."""


def price_picture(history: Sequence[WeekMove], shown: int) -> PricePicture | None:
    """The last weeks of a history, of which the prompt shows the last `shown`; None without two."""
    weeks = history[-_DRAWN:]
    if len(weeks) < 2:
        return None
    closes = [week.close for week in weeks]
    low, high = min(closes), max(closes)
    # Some weeks may be missing in between; the last one gets half a week of air.
    counts = [(week.start - weeks[0].start) / datetime.timedelta(weeks=1) for week in weeks]
    step = (_RIGHT - _LEFT) / (counts[-1] + 0.5)
    points = [
        (_LEFT + step * count, _height(week.close, low, high))
        for count, week in zip(counts, weeks, strict=True)
    ]
    in_prompt = list(zip(points, weeks, strict=True))[len(weeks) - min(shown, len(weeks)) :]
    dots = [(x, y, f"{_end(week)}: {_price(week.close)}") for (x, y), week in in_prompt]
    left = dots[0][0] - step / 2 if dots else _RIGHT
    first, last = _end(weeks[0]), _end(weeks[-1])
    levels = dict.fromkeys([(_height(high, low, high), _price(high)), (_BOTTOM, _price(low))])
    return PricePicture(
        line=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        dots=tuple(dots),
        band=(max(left, _LEFT), _RIGHT - max(left, _LEFT)),
        levels=tuple(levels),
        days=((_LEFT, "start", first), (_RIGHT, "end", last)),
        told=(
            f"Closes of {len(weeks)} weeks, from {_price(closes[0])} in the week to {first} to "
            f"{_price(closes[-1])} in that to {last}; the prompt shows the last "
            f"{f'{len(dots)} weeks' if len(dots) > 1 else 'week'}."
        ),
    )


def _height(close: float, low: float, high: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * ((close - low) / (high - low) if high > low else 0.5)


def _price(price: float) -> str:
    """A price as an axis has room for it."""
    if price >= 1:
        return f"{price:.2f}" if price < 1000 else f"{price:.0f}"
    return f"{price:.3g}"


def _end(week: WeekMove) -> str:
    """The day that the prompt names: the Sunday after the week."""
    return (week.start + datetime.timedelta(weeks=1)).isoformat()


@dataclass(frozen=True)
class Bar:
    """One cell of the table of bins."""

    text: str
    width: float
    """Percent of the widest bar of the table."""


@dataclass(frozen=True)
class BinTable:
    """The twelve bins: what each model gives them, and how many past weeks fell into them."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Bar, ...]], ...]
    rises: tuple[str, ...]
    """The last line: the probability of a rise."""


def bin_table(columns: Sequence[Column], history: Sequence[WeekMove]) -> BinTable | None:
    """The probabilities that are there by now, beside the company's own weeks; None for neither."""
    header: list[str] = []
    shares: list[dict[str, float]] = []
    for column in columns:
        stated = column.forecast and column.forecast["probabilities"]
        if stated:
            header.append(column.role)
            shares.append(stated)
    returns = [week.weekly_return for week in history if week.weekly_return is not None]
    if returns:
        counts = Counter(map(label_of_return, returns))
        header.append(f"Its last {len(returns)} weeks" if len(returns) > 1 else "Its last week")
        shares.append({label: counts[label] / len(returns) for label in BINS})
    if not shares:
        return None
    widest = max(max(of_bins.values()) for of_bins in shares)
    rows: list[tuple[str, tuple[Bar, ...]]] = []
    for label in reversed(BINS):
        bars = [Bar(f"{of[label]:.3f}", _FULL * of[label] / widest) for of in shares]
        rows.append((label, tuple(bars)))
    return BinTable(tuple(header), tuple(rows), tuple(f"{up_share(of):.2f}" for of in shares))


@dataclass(frozen=True)
class Said:
    """A column as it is drawn."""

    role: str
    name: str
    state: str
    """What there is to wait for; empty if it is complete."""
    parts: tuple[tuple[str, bool], ...]
    """The answer in pieces, and whether a piece is the mark of a figure that no input holds."""
    call: str
    record: str
    verdict: str


def said(column: Column) -> Said:
    """A column with its call and its record once they are there."""
    forecast = column.forecast
    if forecast is None:
        waiting = _WRITTEN if column.answer else _ASKED
        state = waiting if column.is_asked else _WAITS
        return Said(column.role, column.name, state, ((column.answer, False),), "", "", "")
    answer = marked_answer(forecast["answer"] or "", forecast["figures_not_in_inputs"] or ())
    record = forecast["record"]
    return Said(
        role=column.role,
        name=column.name,
        state="",
        parts=_parts(answer),
        call=_call(forecast),
        record=record["sentence"],
        verdict=record["verdict"],
    )


def _call(forecast: ForecastFile) -> str:
    call = call_sentence(forecast)
    if forecast["probabilities"] is None:
        return f"{call}. No probabilities, since {forecast['why_none']}"
    return f"{call}. Probability of a rise: {up_share(forecast['probabilities']):.2f}"


def _parts(answer: str) -> tuple[tuple[str, bool], ...]:
    pieces: list[tuple[str, bool]] = []
    for number, text in enumerate(answer.split(NOT_IN_INPUTS)):
        pieces += [(NOT_IN_INPUTS, True)] * (number > 0) + [(text, False)]
    return tuple(pieces)


def inputs_html(view: View) -> str:
    """Company and week, what to beware of, the price, and the inputs with dates and links."""
    weeks = sum(fact["kind"] == "prices" for fact in view.case.inputs)
    return _macro("inputs", view, price_picture(view.history, weeks))


def answers_html(view: View) -> str:
    """The answers as far as they have come, each with its call and its record."""
    return _macro("answers", [said(column) for column in view.columns])


def stopped_html(answers: str) -> str:
    """Answers that were drawn before, and will not go on."""
    for state in (_WRITTEN, _ASKED, _WAITS):
        answers = answers.replace(f'role="status">{state}</p>', f'role="status">{_STOPPED}</p>')
    return answers


def bins_html(view: View) -> str:
    """The table of bins."""
    return _macro("bins", bin_table(view.columns, view.history), view.case.row["symbol"])


def error_html(message: str) -> str:
    """One sentence that says what is wrong."""
    return _macro("error", message)


def heading_html(models: Sequence[tuple[str, str]], source: str) -> str:
    """The head of the page; a model is its role and its name."""
    return _macro("heading", [f"{role} {name}" for role, name in models], source)


def style() -> str:
    """The style sheet."""
    return Path(__file__).with_name("app.css").read_text(encoding="utf-8")


def _macro(name: str, *values: object) -> str:
    module = _environment().get_template("parts.html.jinja").module
    return str(getattr(module, name)(*values))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
