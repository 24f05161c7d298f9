"""How near the teacher stage comes to what a slow endpoint allows: answers a second from a teacher on loopback.

    python -m benchmarks.teacher

An answer takes `--latency` seconds and `--concurrency` of them are asked for at once, so no client can have more
than concurrency / latency a second. The teacher runs in a process of its own, and the stage as users run it, with
every answer forced to the disk. The rate is that from the first request to the last answer, by the teacher's clock;
the seconds of the whole command stand beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from benchmarks.flops import machine
from weekahead.files import Row, append_jsonl, read_jsonl, write_jsonl
from weekahead.manifest import new_manifest
from weekahead.task.record import Financials, News, PastWeek, Record

RESULTS = Path("benchmarks/results/teacher.jsonl")


def made_up_records(count: int) -> Iterator[Record]:
    """Records of invented firms, 50 a week; their prompts are about as long as those of the public rows."""
    for number in range(count):
        start = date(2031, 1, 5) + timedelta(weeks=number // 50)
        symbol = f"FIRM{number % 50:02}"
        weeks = []
        for back in (4, 3, 2, 1):
            first = start - timedelta(weeks=back)
            last = first + timedelta(weeks=1)
            story = f"{symbol} told its customers in week {back} of case {number} that orders moved with the season. "
            news = tuple(
                News(f"{symbol} note {item} of {first}", 2 * story, f"{first}T12:00:00+00:00")
                for item in range(5)
            )
            weeks.append(
                PastWeek(first.isoformat(), last.isoformat(), 100.0, 100.0 + number % 7 - 3, news)
            )
        moves = (number * 37 % 160 - 80) / 1000
        quarter = Financials(
            "2030-09-30", "2030-11-01T00:00:00+00:00", {"grossMargin": 0.4, "currentRatio": 1.5}
        )
        yield Record(
            symbol=symbol,
            company=f"{symbol} makes parts for machines of the {number % 50}th kind. " * 8,
            weeks=tuple(weeks),
            week_start=start.isoformat(),
            week_end=(start + timedelta(weeks=1)).isoformat(),
            decision_time=f"{start}T05:00:00+00:00",
            weekly_return=moves,
            last_week_return=weeks[-1].close_price / 100 - 1,
            financials=quarter,
        )


def measure(count: int, concurrency: int, latency: float, scratch: Path) -> Row:
    """Ask for `count` answers; what was measured. Raises RuntimeError where the stage failed."""
    records, served = scratch / "records.jsonl", scratch / "served.jsonl"
    write_jsonl(records, (record.to_json() for record in made_up_records(count)))
    server = [
        sys.executable,
        "-m",
        "tests.servers.teacher",
        "--latency",
        str(latency),
        "--log",
        str(served),
    ]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as teacher:
        try:
            url = teacher.stdout.readline().strip() if teacher.stdout else ""
            env = {
                **os.environ,
                "OPENAI_BASE_URL": url,
                "OPENAI_API_KEY": "none",
                "NO_PROXY": "127.0.0.1",
            }
            flags = [
                "--model",
                "loopback",
                "--kind",
                "hindsight",
                "--concurrency",
                str(concurrency),
            ]
            stage = [
                sys.executable,
                "-m",
                "data_pipeline.teacher",
                str(records),
                *flags,
                "--out",
                str(scratch),
            ]
            begun = time.perf_counter()
            code = subprocess.run(stage, env=env).returncode
            seconds = time.perf_counter() - begun
        finally:
            teacher.terminate()
    if code:
        raise RuntimeError(f"the stage ended with exit code {code}; its message stands above")
    events = read_jsonl(served)
    asking = max(event["at"] for event in events) - min(event["at"] for event in events)
    answers = sum(event["event"] == "delivered" for event in events)
    ideal = concurrency / latency
    return {
        "answers": answers,
        "concurrency": concurrency,
        "latency_seconds": latency,
        "asking_seconds": asking,
        "command_seconds": seconds,
        "answers_per_second": answers / asking,
        "ideal_per_second": ideal,
        "ratio": answers / asking / ideal,
        "load_average": os.getloadavg()[0],
        "machine": machine(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 for something the message says how to mend."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1500)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="JSONL file that the figures are added to"
    )
    args = parser.parse_args(argv)
    try:
        if args.records < args.concurrency or args.latency <= 0:
            raise ValueError(
                "expected at least as many --records as --concurrency, and a --latency above 0"
            )
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(args.records, args.concurrency, args.latency, Path(scratch))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"benchmarks.teacher: {error}", file=sys.stderr)
        return 2
    append_jsonl(args.results, [new_manifest(kind="benchmark", **found)])
    print(json.dumps(found))
    print(
        f"{found['answers_per_second']:.1f} answers/s of {found['ideal_per_second']:.1f} possible "
        f"({found['ratio']:.1%}); whole command {found['command_seconds']:.1f} s, load {found['load_average']:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
