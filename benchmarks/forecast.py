"""Seconds from the command to the first word and to the probabilities, and companies per second
with and without a text:

    python -m benchmarks.forecast --config recipes/smollm2.yaml --adapter outputs/demo \\
        --records data/records/demo.jsonl --date 2032-03-21

Run it on a machine that does nothing else. The command is timed as a user starts it, with the
loading of libraries and model; the rates are those of a loaded model, one company at a time.
"""

import datetime
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data_pipeline.records.calendar import sunday_on_or_before
from forecast.company.inputs import inputs_of_records, unlabeled_row
from forecast.company.model import LocalModel, Said
from weekahead.cli import new_parser, option, run_with_options
from weekahead.models.decoding import SamplingParams
from weekahead.models.loading import resolve_base_and_adapter
from weekahead.models.precision import choose_precision
from weekahead.recipe import read_recipe

_END_OF_INPUTS = "\n\n"
"""Stands in front of the table of inputs and behind it."""
_PROBABILITIES = "Probabilities of"


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The flags of the command."""

    config: Path = option(help="recipe that names the base")
    adapter: str = option(help="folder, user/name[@revision], or none")
    records: Path = option(help="records with several companies in the week")
    date: datetime.date = option(help="a day of that week")
    out: Path = option(Path("benchmarks/results/forecasts"), help="folder of the forecasts")


@dataclass(frozen=True)
class Moments:
    """Seconds since the start of a command; None if it never came."""

    first_word: float | None
    probabilities: float | None


def moments(stream: IO[str], start: float) -> Moments:
    """When the answer began and when the probabilities came, from a command's output."""
    text, first_word = "", None
    while character := stream.read(1):
        text += character
        if first_word is None and text.count(_END_OF_INPUTS) == 2 and not character.isspace():
            first_word = time.perf_counter() - start
        if text.endswith(_PROBABILITIES):
            return Moments(first_word, time.perf_counter() - start)
    return Moments(first_word, None)


def time_command(options: BenchmarkOptions, symbol: str) -> Moments:
    """The moments of one `python -m forecast`."""
    words = ["--config", options.config, "--adapter", options.adapter, "--symbols", symbol]
    words += ["--records", options.records, "--date", options.date, "--out", options.out]
    command = [sys.executable, "-u", "-m", "forecast", *map(str, words)]
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout
        found = moments(process.stdout, start)
        process.stdout.read()
    return found


def seconds_per_company(options: BenchmarkOptions, *, with_text: bool) -> float:
    """Of a loaded model; the first company is left out. Raises ValueError for a single one."""
    week = sunday_on_or_before(options.date)
    rows = [unlabeled_row(record) for record in inputs_of_records(options.records, week).records]
    if len(rows) < 2:
        raise ValueError(f"{options.records} has one company in the week of {week}; two are needed")
    precision = choose_precision()
    base, adapter = resolve_base_and_adapter(
        read_recipe(options.config), options.adapter, precision
    )
    sampling = SamplingParams(batch_size=1)
    times: list[float] = []

    def on_said(number: int, said: Said) -> None:
        del number, said
        times.append(time.perf_counter())

    model = LocalModel(base, adapter, precision, sampling, with_text=with_text)
    model.forecast(rows, on_said)
    return (times[-1] - times[0]) / (len(times) - 1)


def run(options: BenchmarkOptions) -> int:
    """Print the four figures."""
    week = sunday_on_or_before(options.date)
    symbol = inputs_of_records(options.records, week).records[0].symbol
    found = time_command(options, symbol)
    if found.first_word is None or found.probabilities is None:
        raise ValueError(f"the forecast of {symbol} failed; run it by itself: python -m forecast")
    print(f"first word after {found.first_word:.1f} s, probabilities {found.probabilities:.1f} s")
    for name, with_text in (("with text", True), ("--text none", False)):
        seconds = seconds_per_company(options, with_text=with_text)
        print(f"{name}: {seconds:.2f} s per company, {1 / seconds:.2f} companies per second")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 an error whose message has the remedy."""
    parser = new_parser(__doc__, "benchmarks.forecast")
    return run_with_options("benchmarks.forecast", parser, BenchmarkOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
