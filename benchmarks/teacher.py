"""How near the teacher stage comes to what a slow endpoint allows: answers per second on loopback.

    python -m benchmarks.teacher

An answer takes `--latency` seconds and `--concurrency` of them are asked for at once, so no client
can have more than concurrency / latency per second. The teacher runs in a process of its own, and
the stage as users run it, with every answer forced to the disk. The rate is that from the first
request to the last answer, by the teacher's clock; the seconds of the whole command stand beside
it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypedDict

from benchmarks.flops import Machine, machine
from weekahead.cli import add_options, new_parser, option, read_options, run_command
from weekahead.files import append_jsonl, read_jsonl, write_jsonl
from weekahead.locks import check_appendable
from weekahead.manifest import new_manifest
from weekahead.task.record import Financials, News, PastWeek, Record

RESULTS = Path("benchmarks/results/teacher.jsonl")
_FIRST_WEEK = date(2031, 1, 5)
_FIRMS = 50


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured."""

    records: int = 1500
    concurrency: int = 32
    latency: float = option(0.3, help="seconds")
    results: Path = option(RESULTS, help="JSONL file that the figures are added to")

    def check(self) -> None:
        """Raise ValueError for options that measure nothing."""
        if self.records < self.concurrency or self.latency <= 0:
            raise ValueError(
                "expected at least as many --records as --concurrency, and a --latency above 0"
            )


class TeacherTiming(TypedDict):
    """What was measured."""

    answers: int
    concurrency: int
    latency_seconds: float
    asking_seconds: float
    command_seconds: float
    answers_per_second: float
    ideal_per_second: float
    ratio: float
    load_average: float
    machine: Machine


def made_up_records(count: int) -> Iterator[Record]:
    """Records of invented firms, 50 per week, with prompts about as long as the public ones."""
    for number in range(count):
        start = _FIRST_WEEK + timedelta(weeks=number // _FIRMS)
        firm = number % _FIRMS
        symbol = f"FIRM{firm:02}"
        weeks = tuple(
            _past_week(symbol, number, start - timedelta(weeks=back), back) for back in (4, 3, 2, 1)
        )
        figures = {"grossMargin": 0.4, "currentRatio": 1.5}
        yield Record(
            symbol=symbol,
            company=f"{symbol} makes parts for machines of the {firm}th kind. " * 8,
            weeks=weeks,
            week_start=start.isoformat(),
            week_end=(start + timedelta(weeks=1)).isoformat(),
            decision_time=f"{start}T05:00:00+00:00",
            weekly_return=(number * 37 % 160 - 80) / 1000,
            last_week_return=weeks[-1].close_price / 100 - 1,
            financials=Financials("2030-09-30", "2030-11-01T00:00:00+00:00", figures),
        )


def _past_week(symbol: str, number: int, first: date, back: int) -> PastWeek:
    story = (
        f"{symbol} told its customers in week {back} of case {number} that orders moved with the "
        "season. "
    )
    news = tuple(
        News(f"{symbol} note {item} of {first}", 2 * story, f"{first}T12:00:00+00:00")
        for item in range(5)
    )
    last = first + timedelta(weeks=1)
    return PastWeek(first.isoformat(), last.isoformat(), 100.0, 100.0 + number % 7 - 3, news)


def measure(options: BenchmarkOptions, scratch: Path) -> TeacherTiming:
    """Ask for `options.records` answers. Raises RuntimeError if the stage failed."""
    records, served = scratch / "records.jsonl", scratch / "served.jsonl"
    write_jsonl(records, (record.to_json() for record in made_up_records(options.records)))
    flags = ["--latency", str(options.latency), "--log", str(served)]
    command = [sys.executable, "-m", "tests.support.servers.teacher", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            seconds = _run_stage(records, url, options.concurrency)
        finally:
            server.terminate()
    events = read_jsonl(served)
    times = [event["at"] for event in events]
    asking = max(times) - min(times)
    answers = sum(event["event"] == "delivered" for event in events)
    ideal = options.concurrency / options.latency
    return {
        "answers": answers,
        "concurrency": options.concurrency,
        "latency_seconds": options.latency,
        "asking_seconds": asking,
        "command_seconds": seconds,
        "answers_per_second": answers / asking,
        "ideal_per_second": ideal,
        "ratio": answers / asking / ideal,
        "load_average": os.getloadavg()[0],
        "machine": machine(),
    }


def _run_stage(records: Path, url: str, concurrency: int) -> float:
    """The stage as users run it, against the server at `url`; the seconds that it took."""
    flags = ["--kind", "hindsight", "--model", "loopback", "--concurrency", str(concurrency)]
    command = [sys.executable, "-m", "data_pipeline.teacher", str(records), *flags]
    own = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "NO_PROXY": "127.0.0.1"}
    start = time.perf_counter()
    status = subprocess.run(
        [*command, "--out", str(records.parent)], env={**os.environ, **own}
    ).returncode
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"the stage ended with exit code {status}; its message is above")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 for an error whose message names the remedy."""
    parser = new_parser(__doc__, "benchmarks.teacher")
    add_options(parser, BenchmarkOptions)
    options = read_options(parser.parse_args(argv), BenchmarkOptions)

    def work() -> int:
        options.check()
        check_appendable(options.results)
        with tempfile.TemporaryDirectory() as scratch:
            timing = measure(options, Path(scratch))
        append_jsonl(options.results, [new_manifest(kind="benchmark", **timing)])
        print(json.dumps(timing))
        print(
            f"{timing['answers_per_second']:.1f} answers per second of "
            f"{timing['ideal_per_second']:.1f} possible ({timing['ratio']:.1%}); whole command "
            f"{timing['command_seconds']:.1f} s, load {timing['load_average']:.1f}"
        )
        return 0

    return run_command("benchmarks.teacher", work, errors=(ValueError, OSError, RuntimeError))


if __name__ == "__main__":
    sys.exit(main())
