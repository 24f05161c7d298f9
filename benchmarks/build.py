"""How long `data_pipeline.build` takes, and how much memory, as the records grow:

python -m benchmarks.build --rows 1000 10000 50000

Each size runs in a process of its own, over made-up records as long as real ones (three weeks of
five items, 39 figures). The peak is that of the whole process, so what the tokenizers of the card
take is in it.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TypedDict

from data_pipeline import build
from data_pipeline.build import BuildOptions
from data_pipeline.teacher.answer_log import AnswerIndex
from data_pipeline.teacher.prompts import digest, fingerprint
from weekahead.cli import new_parser
from weekahead.files import write_jsonl
from weekahead.schema.rows import TeacherAnswerRow
from weekahead.task.answer import render_answer
from weekahead.task.record import Financials, News, PastWeek, Record

_FIRST_WEEK = date(2016, 1, 3)
_TEXT = "shares orders plant quarter margin rival court demand price market chief loan"
_VOCABULARY = _TEXT.split()
_SYMBOLS = 100


class BuildTiming(TypedDict):
    """One line of the output."""

    records: int
    kept: int
    seconds: float
    rows_per_second: int
    peak_mb: int
    tokenizers: int


def made_record(number: int) -> Record:
    """A record of about 7,000 characters, the same for the same number."""
    draw = random.Random(number)
    start = _FIRST_WEEK + timedelta(weeks=number // _SYMBOLS)
    symbol = f"S{number % _SYMBOLS:03d}"
    figures = {f"f{index}": draw.random() for index in range(39)}
    return Record(
        symbol=symbol,
        company=f"Company {symbol}.",
        weeks=tuple(_past_week(draw, start - timedelta(weeks=back)) for back in (3, 2, 1)),
        week_start=str(start),
        week_end=str(start + timedelta(weeks=1)),
        decision_time=f"{start}T00:00:00+00:00",
        weekly_return=draw.gauss(0, 0.03),
        last_week_return=draw.gauss(0, 0.03),
        financials=Financials("2015-09-30", "2015-11-05T05:00:00+00:00", figures),
        extra={"synthetic": True},
    )


def _past_week(draw: random.Random, first: date) -> PastWeek:
    """A week of five items."""
    days = [first + timedelta(days=offset) for offset in range(1, 6)]
    return PastWeek(
        start=str(first),
        end=str(first + timedelta(weeks=1)),
        open_price=100.0,
        close_price=101.0,
        news=tuple(News(_text(draw, 10), _text(draw, 45), f"{day}T12:00:00+00:00") for day in days),
        closed_at=f"{days[-1]}T21:00:00+00:00",
    )


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_VOCABULARY, k=words)).capitalize() + "."


def answers(count: int) -> Iterator[TeacherAnswerRow]:
    """Accepted answers to the first `count` records, about 1,900 characters each."""
    for number in range(count):
        record = made_record(number)
        pros, cons, analysis = (_item(number + offset) for offset in range(3))
        yield {
            "key": digest(number),
            "id": record.id,
            "kind": "hindsight",
            "model": "made",
            "answer": render_answer([pros] * 3, [cons] * 3, record.label or "", analysis * 6),
            "prompt_sha256": fingerprint(record, "hindsight"),
            "accepted": True,
            "reason": None,
        }


def _item(number: int) -> str:
    return " ".join(random.Random(number).choices(_VOCABULARY, k=22))


def measure(rows: int, folder: Path) -> BuildTiming:
    """Build a dataset of `rows` records in `folder`; the peak of memory is in MB."""
    records, log = folder / "records.jsonl", folder / "hindsight.jsonl"
    write_jsonl(records, (made_record(number).to_json() for number in range(rows)))
    write_jsonl(log, answers(rows))
    options = BuildOptions(validation_share=0.1, gap_weeks=4)
    start = time.perf_counter()
    result = build.build(options, records=records, answers=AnswerIndex(log), out=folder / "out")
    seconds = time.perf_counter() - start
    manifest = result.manifest
    return {
        "records": rows,
        "kept": sum(split["rows"] for split in manifest["splits"].values()),
        "seconds": round(seconds, 2),
        "rows_per_second": round(rows / seconds),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "tokenizers": len(manifest["tokens"]["recipes"]),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line of JSON per size."""
    parser = new_parser(__doc__, "benchmarks.build")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 50_000])
    sizes = parser.parse_args(argv).rows
    if len(sizes) == 1:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(measure(sizes[0], Path(scratch))))
        return 0
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.build", "--rows", str(size)]
        subprocess.run(command, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
