"""A dataset from live providers: fetch, teacher, build and audit in turn.

python -m data_pipeline --index nasdaq100 --start 2026-01-01 --end 2026-06-30 --model gpt-4.1 --max_cost 20

Each stage is a command of its own too (`python -m data_pipeline.fetch` and so on) and keeps what it has done:
the same command goes on after an interrupt, and asks no provider for anything twice.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from data_pipeline import build, fetch, forecasts
from data_pipeline.audit import run as audit
from data_pipeline.teacher import run as teacher
from weekahead.files import load_env

Stage = Callable[[argparse.Namespace], int]


def stages(args: argparse.Namespace) -> Iterator[tuple[str, Stage, argparse.Namespace]]:
    """(name, stage, its arguments) in the order in which they run; each is asked for when the one before is done."""
    records = fetch.records_path(args)
    folder = args.data / "datasets" / records.stem
    shares = (args.test_share, args.validation_share)

    def given(**more: object) -> argparse.Namespace:
        return argparse.Namespace(**{**vars(args), **more})

    fetch.check(args)
    build.check(args)
    teacher.check(given(kind="hindsight"))
    yield "fetch", fetch.run, args
    # Nobody pays for answers to the weeks that the cut leaves out between two splits.
    gap = build.gap_of(args, records)
    kept = {week for week, split in build.cut(records, shares, gap)[0].items() if split != "gap"}
    asked = given(
        records=records, out=args.data / "teacher", kind="hindsight", only=None, weeks=kept
    )
    yield "teacher", teacher.run, asked
    if args.dry_run:
        return
    answers = teacher.answers_path(asked)
    # The push comes last, after the audit.
    built = given(
        records=records, answers=answers, name=folder.name, datasets=folder.parent, push=None
    )
    yield "build", build.run, built
    if args.forecast:
        left = (
            None
            if args.max_cost is None
            else max(0.0, args.max_cost - getattr(asked, "spent", 0.0))
        )
        untold = given(
            **{**vars(asked), "kind": "forecast", "only": folder / "test.jsonl", "max_cost": left}
        )
        yield "teacher, not told", teacher.run, untold
        yield (
            "forecasts",
            forecasts.run,
            given(records=records, answers=teacher.answers_path(untold), dataset=folder),
        )
    yield "audit", audit.run, given(source=str(folder), out=folder, filing_lag=audit.FILING_LAG)
    if args.push:
        yield "push", build.run_push, given(dataset=folder)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 done, 1 a stage ended short or the audit found a leak, 2 an error, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for stage in (fetch, teacher, build):
        stage.add_arguments(parser)
    parser.add_argument(
        "--forecast",
        action="store_true",
        help="also ask about the test weeks without telling the bin",
    )
    args = parser.parse_args(argv)
    name = "data_pipeline"
    try:
        load_env()
        for name, run, of_stage in stages(args):
            print(f"== {name}", flush=True)
            if status := run(of_stage):
                return status
    except (ValueError, OSError) as error:
        print(f"data_pipeline, {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"data_pipeline, {name}: interrupted; the same command goes on where it stopped",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
