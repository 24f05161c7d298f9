"""What the page asks: its fields, checked as the flags of the command are, and the answers."""

import argparse
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

from data_pipeline.records.calendar import sunday_on_or_before
from forecast.browser.options import AppOptions
from forecast.browser.streaming import Emit, streamed
from forecast.company.asked import ForecastOptions, gather_cases, live_sources
from forecast.company.cautions import cautions
from forecast.company.choice import Chosen, choose_model, model_asked
from forecast.company.history import WeekMove, history_of_records, live_history
from forecast.company.inputs import Case, check_records, live_symbols, named_symbols
from forecast.company.model import LocalModel, Said
from weekahead.cli import parse_day, whole_number
from weekahead.models.loading import Adapter, Base, load_for_generation
from weekahead.models.precision import Precision
from weekahead.redaction import without_secrets
from weekahead.schema.forecasts import ForecastFile
from weekahead.task.record import read_records

BASE_ALONE = "none"
_LONGEST = 100
"""Characters of a field."""


@dataclass(frozen=True)
class Fields:
    """The fields of the page, as they were typed."""

    symbol: str
    date: str
    weeks: str
    both: bool
    """Whether the base is asked beside the adapter."""


def forecast_options(options: AppOptions, typed: Fields) -> ForecastOptions:
    """What the fields ask for, with the command's own checks and sentences.

    Raises ValueError naming the field, its value and what was expected.
    """
    for name, text in (("symbol", typed.symbol), ("date", typed.date), ("weeks", typed.weeks)):
        if len(text) > _LONGEST:
            raise ValueError(f"{name} has {len(text)} characters; expected {_LONGEST} at most")
    symbols = typed.symbol.upper().replace(",", " ").split()
    if len(symbols) != 1:
        raise ValueError(f"symbol is {typed.symbol!r}; expected one company, such as AAPL")
    asked = replace(
        options.asked(),
        symbols=symbols[0],
        index=None,
        date=_day(typed.date.strip()),
        weeks=_count(typed.weeks.strip()),
    )
    asked.check()
    return asked


def _day(text: str) -> datetime.date | None:
    try:
        return parse_day(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"argument --date: {error}") from None


def _count(text: str) -> int | None:
    try:
        return whole_number(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"argument --weeks: {error}") from None


class KeptModel:
    """Loads a model when it is first asked, and keeps it."""

    def __init__(self) -> None:
        self._loaded: tuple[object, str] | None = None

    def __call__(
        self, base: Base, adapter: Adapter | None, precision: Precision, cached_tokens: int
    ) -> tuple[object, str]:
        """As `load_for_generation`."""
        if self._loaded is None:
            self._loaded = load_for_generation(base, adapter, precision, cached_tokens)
        return self._loaded


def models(options: AppOptions) -> tuple[Chosen, ...]:
    """The model that the flags name and, beside an adapter in this process, its base.

    None is loaded yet. Raises as `choose_model` does.
    """
    asked = options.asked()
    adapters = [options.adapter]
    if options.adapter != BASE_ALONE and options.model is None:
        adapters.append(BASE_ALONE)
    chosen = [choose_model(model_asked(replace(asked, adapter=adapter))) for adapter in adapters]
    return tuple(map(_keeping, chosen))


def _keeping(chosen: Chosen) -> Chosen:
    if not isinstance(chosen.model, LocalModel):
        return chosen
    return replace(chosen, model=replace(chosen.model, load=KeptModel()))


@dataclass(frozen=True)
class Column:
    """What one model says, as far as it has come."""

    role: str
    """Adapter, Base or Served."""
    name: str
    is_asked: bool = False
    """Whether its turn has come."""
    answer: str = ""
    forecast: ForecastFile | None = None
    """Once it is complete."""


@dataclass(frozen=True)
class View:
    """Everything that the page shows of one company and week."""

    case: Case
    warnings: Sequence[str]
    notes: Sequence[str]
    history: Sequence[WeekMove]
    no_history: str
    """Why there is none; empty if there is."""
    columns: tuple[Column, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every model has come to its end."""
        return all(column.forecast for column in self.columns)


def views(options: AppOptions, chosen: Sequence[Chosen], typed: Fields) -> Iterator[View]:
    """What the page shows, again and again while the answers are written.

    Raises ValueError as the command does, OSError and RuntimeError of providers and models, and
    TimeoutError.
    """
    asked = forecast_options(options, typed)
    used = chosen if typed.both else chosen[:1]

    def work(emit: Emit[View]) -> None:
        now = datetime.datetime.now(UTC)
        gathered = gather_cases(asked, asked.date or now.date(), now)
        (case,) = gathered.cases
        cautioned = [warning for one in used for warning in cautions(case, one.knowledge, now)]
        history, no_history = _history(asked, case)
        view = View(
            case=case,
            warnings=list(dict.fromkeys(cautioned)),
            notes=gathered.notes,
            history=history,
            no_history=no_history,
            columns=tuple(Column(*role_and_name(one)) for one in used),
        )
        emit(view)
        for number, one in enumerate(used):
            view = _answered(view, number, one, now, emit)

    return streamed(work, options.timeout)


def _answered(
    view: View, number: int, chosen: Chosen, now: datetime.datetime, emit: Emit[View]
) -> View:
    """The view with the whole answer of one model; what it has written so far is emitted."""
    column, shown = view.columns[number], view

    def show(**change: object) -> None:
        nonlocal column, shown
        column = replace(column, **change)
        columns = [*view.columns]
        columns[number] = column
        shown = replace(view, columns=tuple(columns))
        emit(shown)

    def on_text(text: str) -> None:
        show(answer=column.answer + text)

    def on_said(_: int, said: Said) -> None:
        show(forecast=chosen.forecast_of(view.case, said, now, view.notes))

    show(is_asked=True)
    chosen.model.forecast([view.case.row], on_said, on_text)
    return shown


def role_and_name(chosen: Chosen) -> tuple[str, str]:
    """A model in the words of its column."""
    facts = chosen.facts
    if facts.served_as:
        return "Served", facts.served_as
    return ("Adapter", facts.adapter) if facts.adapter else ("Base", facts.base)


def _history(asked: ForecastOptions, case: Case) -> tuple[list[WeekMove], str]:
    """The weeks before, or why they are not to be had: a forecast does not need them."""
    symbol = case.row["symbol"]
    week = datetime.date.fromisoformat(case.row["week_start"])
    try:
        if asked.records:
            return history_of_records(asked.records, symbol, week), ""
        return live_history(symbol, week, live_sources(asked)), ""
    except (ValueError, OSError) as error:
        return [], without_secrets(str(error))


@dataclass(frozen=True)
class Offer:
    """What the page has in its fields at first."""

    companies: Sequence[str]
    """Those to choose from; empty if the flags name none."""
    company: str
    day: str
    """Empty for the week under way."""


def offer(options: AppOptions) -> Offer:
    """The companies that the flags name and the day; of records the last week and all companies.

    Raises ValueError for an unknown symbol or index, OSError without the file of records, and as
    `read_records` does.
    """
    named = named_symbols(options.symbols)
    day = options.date
    if options.records:
        check_records(options.records)
        weeks = [(record.week_start, record.symbol) for record in read_records(options.records)]
        last = sunday_on_or_before(day).isoformat() if day else max(weeks, default=("",))[0]
        symbols = named or sorted({symbol for _, symbol in weeks})
        there = [symbol for symbol in symbols if (last, symbol) in weeks]
        return Offer(symbols, (there or symbols or [""])[0], day.isoformat() if day else last)
    if named or options.index:
        today = day or datetime.datetime.now(UTC).date()
        named = live_symbols(named, options.index, sunday_on_or_before(today))
    return Offer(named, (named or [""])[0], day.isoformat() if day else "")
