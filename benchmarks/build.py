"""How long `data_pipeline.build` takes, and how much memory, as the records grow:

python -m benchmarks.build --rows 1000 10000 50000

Each size runs in a process of its own, over made-up records as long as real ones (three weeks of five items, 39
figures). The peak is that of the whole process, so what the tokenizers of the card take is in it.
"""

import argparse
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

from data_pipeline import build
from data_pipeline.teacher.answer_log import AnswerIndex
from data_pipeline.teacher.prompts import digest, fingerprint
from weekahead.files import Row, write_jsonl
from weekahead.task.answer import render_answer
from weekahead.task.record import Financials, News, PastWeek, Record

_FIRST = date(2016, 1, 3)
_WORDS = (
    "shares",
    "orders",
    "plant",
    "quarter",
    "margin",
    "rival",
    "court",
    "demand",
    "price",
    "market",
    "chief",
    "loan",
)
_SYMBOLS = 100


def made_record(number: int) -> Record:
    """A record of about 7,000 characters, the same for the same number."""
    draw = random.Random(number)
    start, symbol = _FIRST + timedelta(weeks=number // _SYMBOLS), f"S{number % _SYMBOLS:03d}"

    def text(words: int) -> str:
        return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."

    def week(back: int) -> PastWeek:
        first = start - timedelta(weeks=back)
        news = tuple(
            News(text(10), text(45), f"{first + timedelta(days=d)}T12:00:00+00:00")
            for d in range(1, 6)
        )
        return PastWeek(
            str(first),
            str(first + timedelta(weeks=1)),
            100.0, 101.0, news, f"{first + timedelta(days=5)}T21:00:00+00:00",
        )  # fmt: skip

    return Record(
        symbol=symbol,
        company=f"Company {symbol}.",
        weeks=tuple(week(back) for back in (3, 2, 1)),
        week_start=str(start),
        week_end=str(start + timedelta(weeks=1)),
        decision_time=f"{start}T05:00:00+00:00",
        weekly_return=draw.gauss(0, 0.03),
        last_week_return=draw.gauss(0, 0.03),
        financials=Financials("2015-09-30", "2015-11-05T05:00:00+00:00", {f"f{n}": draw.random() for n in range(39)}),
        extra={"synthetic": True},
    )  # fmt: skip


def answers(rows: int) -> Iterator[Row]:
    """The log's lines of accepted answers to the first `rows` records, about 1,900 characters each."""
    for number in range(rows):
        record = made_record(number)
        text = render_answer(
            [_item(number)] * 3, [_item(number + 1)] * 3, record.label or "", _item(number + 2) * 6
        )
        yield {"key": digest(number), "id": record.id, "kind": "hindsight", "model": "made", "answer": text,
               "prompt_sha256": fingerprint(record, "hindsight"), "accepted": True, "reason": None}  # fmt: skip


def _item(number: int) -> str:
    return " ".join(random.Random(number).choices(_WORDS, k=22))


def measure(rows: int, folder: Path) -> Row:
    """Build a dataset of `rows` records in `folder`: seconds, rows a second, and the peak of memory in MB."""
    records, log = folder / "records.jsonl", folder / "hindsight.jsonl"
    write_jsonl(records, (made_record(number).to_json() for number in range(rows)))
    write_jsonl(log, answers(rows))
    start = time.perf_counter()
    options = build.BuildOptions(gap_weeks=4)
    result = build.build(options, records=records, answers=AnswerIndex(log), out=folder / "out")
    manifest = result.manifest
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kept = sum(part["rows"] for part in manifest["splits"].values())
    return {"records": rows, "kept": kept, "seconds": round(seconds, 2), "rows_per_second": round(rows / seconds),
            "peak_mb": round(peak), "tokenizers": len(manifest["tokens"]["recipes"])}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line of JSON a size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 50_000])
    sizes = parser.parse_args(argv).rows
    if len(sizes) == 1:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(measure(sizes[0], Path(scratch))))
        return 0
    for size in sizes:
        subprocess.run([sys.executable, "-m", "benchmarks.build", "--rows", str(size)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
