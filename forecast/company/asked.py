"""What a forecast is asked for, by a command or a page, and the companies that this names."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.records.assemble import CONTEXT
from data_pipeline.records.calendar import sunday_on_or_before
from forecast.company.inputs import (
    Case,
    LiveSources,
    case_of_prompt,
    cases_of,
    check_all_known,
    inputs_of_records,
    live_inputs,
    live_symbols,
    named_symbols,
)
from weekahead.cli import option
from weekahead.models.decoding import SamplingParams


@dataclass(frozen=True, kw_only=True)
class AskedOptions:
    """The flags that the command and the page share."""

    config: Path = option(help="recipe that names the base")
    adapter: str = option(help="folder, user/name[@revision], or none for the base alone")
    run: str = option("", help="whose evaluation in results/ is the record, if there are several")
    symbols: str = option("", help="companies, by spaces or commas")
    index: str | None = option(None, help="its members, if no symbols are named")
    date: datetime.date | None = option(None, help="a day of the week to forecast (default: today)")
    records: Path | None = option(None, help="records to forecast from, instead of providers")
    prices: Path | None = option(None, help="folder of price files, instead of Yahoo")
    news: tuple[Path, ...] = option((), help="JSONL in Finnhub's or Alpaca's form")
    data: Path = option(Path("data"), help="folder whose raw/ keeps the providers' answers")
    model: str | None = option(
        None, help="ask the server at OPENAI_BASE_URL, which knows the model by this name"
    )
    max_new_tokens: int = SamplingParams.max_new_tokens
    results: Path = option(Path("results"), help="folder of evaluations, for the record")


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(AskedOptions):
    """The flags of `python -m forecast`."""

    prompt: Path | None = option(None, help="file with the user message of one prompt")
    weeks: int | None = option(None, help="past weeks of each prompt, 1 to 4 (default: as in data)")
    text: str = option("full", choices=("full", "none"), help="none: probabilities alone")
    batch_size: int = option(
        1, help="companies at once; with 1 no forecast depends on which others are made"
    )
    out: Path = option(Path("forecasts"), help="folder of the forecasts")

    def check(self) -> None:
        """Raise ValueError for flags that contradict each other."""
        for one, other in (
            ("prompt", "symbols"),
            ("prompt", "index"),
            ("prompt", "records"),
            ("index", "symbols"),
            ("index", "records"),
        ):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(
                    f"--{one} and --{other} each say what to forecast; give one of them"
                )
        least, most = CONTEXT
        if self.weeks is not None and not least <= self.weeks <= most:
            raise ValueError(
                f"--weeks is {self.weeks}; expected {least} to {most} past weeks, as in a dataset"
            )
        if self.prompt and self.weeks:
            raise ValueError("--prompt has its weeks in its text; leave --weeks out")
        if self.records and (self.prices or self.news):
            raise ValueError("--records holds prices and news; leave --prices and --news out")


@dataclass(frozen=True)
class Gathered:
    """What is to be forecast, and what could not be had."""

    cases: list[Case]
    """One at least."""
    left_out: dict[str, str]
    notes: list[str]


def gather_cases(options: ForecastOptions, day: datetime.date, now: datetime.datetime) -> Gathered:
    """The companies that the flags name, with what was known before the week of `day`.

    Raises ValueError for a symbol that nothing is known of, a week that has not begun, and if no
    company is left.
    """
    gathered = _gather(options, day, now)
    if not gathered.cases:
        symbol, reason = next(iter(gathered.left_out.items()))
        raise ValueError(f"nothing to forecast in the week of {day}: {symbol}: {reason}")
    return gathered


def _gather(options: ForecastOptions, day: datetime.date, now: datetime.datetime) -> Gathered:
    week = sunday_on_or_before(day)
    if options.prompt:
        return Gathered([case_of_prompt(options.prompt, week)], {}, [])
    named = named_symbols(options.symbols)
    if options.records:
        known = inputs_of_records(options.records, week, named, options.weeks)
        return Gathered(cases_of(known), known.left_out, list(known.notes))
    if week > now.date():
        raise ValueError(
            f"DATE {day} lies ahead: what its week is forecast from is known on {week}; give "
            "today's date, or leave DATE out"
        )
    symbols = live_symbols(named, options.index, week)
    known = live_inputs(symbols, week, live_sources(options), options.weeks)
    check_all_known(known, named)
    return Gathered(cases_of(known), known.left_out, list(known.notes))


def live_sources(options: ForecastOptions) -> LiveSources:
    """Where prices and news come from without records."""
    return LiveSources(options.data, options.prices, options.news, news_needed=False)
