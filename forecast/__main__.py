"""Forecast the week under way, or another one, of one company or several:

    python -m forecast --config recipes/llama.yaml --adapter outputs/llama-1 --symbols "AAPL MSFT"

Inputs end at the first moment of the week (Sunday 00:00 at the exchange). They come from providers
as those of a dataset do, from files (--prices, --news), from records (--records) or from a prompt
of your own (--prompt). Writes forecasts/<date>/<symbol>.json and .md.
"""

import datetime
import sys
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from forecast.company.asked import ForecastOptions, Gathered, gather_cases
from forecast.company.cautions import cautions
from forecast.company.result import after_answer, batch_table, before_answer, write_forecast
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    for_terminal,
    new_parser,
    read_options,
    run_command,
    say,
)
from weekahead.files import write_text
from weekahead.locks import check_writable, sole_writer
from weekahead.schema.forecasts import ForecastFile

if TYPE_CHECKING:
    from forecast.company.choice import Chosen
    from forecast.company.model import Said

TABLE = "table.txt"
"""The table of a batch, beside its forecasts."""


def run(options: ForecastOptions) -> int:
    """Gather, forecast, show and write. Raises as its parts do; what was made by then stays."""
    options.check()
    now = datetime.datetime.now(UTC)
    day = options.date or now.date()
    folder = options.out / day.isoformat()
    check_writable(folder)
    gathered = gather_cases(options, day, now)
    # It imports torch: what is refused is by now.
    from forecast.company.choice import choose_model, model_asked

    chosen = choose_model(model_asked(options))
    if options.date is None and not options.prompt:
        week = gathered.cases[0]
        print(
            f"The week under way began on {week.row['week_start']}; inputs end at its decision "
            f"time, {week.decision_time}"
        )
    for note in gathered.notes:
        say(f"note: {note}")
    with sole_writer(folder):
        made = _forecast_all(gathered, chosen, folder, now)
        _show_batch(made, gathered, folder)
    return 0


def _forecast_all(
    gathered: Gathered, chosen: "Chosen", folder: Path, now: datetime.datetime
) -> list[ForecastFile]:
    """Make, show and write one forecast after another."""
    cases, made = gathered.cases, list[ForecastFile]()
    alone = len(cases) == 1
    if alone:
        warnings = cautions(cases[0], chosen.knowledge, now)
        print(for_terminal(before_answer(cases[0], warnings)), end="\n\n", flush=True)

    def on_said(number: int, said: "Said") -> None:
        forecast = chosen.forecast_of(cases[number], said, now, gathered.notes)
        path = write_forecast(forecast, folder)
        made.append(forecast)
        if alone:
            told = for_terminal(after_answer(forecast))
            print(f"\n\n{told}\n" if said.answer else told)
            say(str(path))
        else:
            say(f"{len(made)} of {len(cases)}: {path}")

    chosen.model.forecast([case.row for case in cases], on_said, print_text if alone else None)
    return sorted(made, key=lambda forecast: forecast["symbol"])


def print_text(text: str) -> None:
    """Print a piece of an answer as it comes, without control characters."""
    print(for_terminal(text), end="", flush=True)


def _show_batch(made: Sequence[ForecastFile], gathered: Gathered, folder: Path) -> None:
    """The table of several forecasts, what many of them are warned of, and what is missing."""
    for symbol, reason in gathered.left_out.items():
        say(f"left out: {symbol}: {reason}")
    if len(made) == 1:
        return
    shown = batch_table(made)
    write_text(folder / TABLE, f"{shown}\n")
    print(f"\n{for_terminal(shown)}\n")
    symbols_of: dict[str, list[str]] = {}
    for forecast in made:
        for warning in forecast["warnings"]:
            symbols_of.setdefault(warning, []).append(forecast["symbol"])
    for warning, symbols in symbols_of.items():
        who = "all" if len(symbols) == len(made) else ", ".join(symbols)
        say(f"WARNING ({who}): {warning}")
    say(f"Record: {made[0]['record']['sentence']}")
    say(str(folder / TABLE))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 forecast, 2 an error whose message has the remedy, 130 or 143
    interrupted."""
    parser = new_parser(__doc__, "forecast")
    add_options(parser, ForecastOptions)
    options = read_options(parser.parse_args(argv), ForecastOptions)
    configure_logging()
    return run_command(
        "forecast",
        lambda: run(options),
        errors=MODEL_ERRORS,
        out_of_memory_hint="give a smaller --batch_size",
    )


if __name__ == "__main__":
    sys.exit(main())
