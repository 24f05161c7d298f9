"""A dataset from live providers: fetch, teacher, build and audit in turn.

python -m data_pipeline --index nasdaq100 --start 2026-01-01 --end 2026-06-30 \\
    --model gpt-4.1 --max_cost 20

Each stage is a command of its own too (`python -m data_pipeline.fetch` and so on) and keeps what it
has done: the same command goes on after an interrupt, and asks no provider for anything twice.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from data_pipeline import build, fetch, forecasts
from data_pipeline.audit import run as audit
from data_pipeline.audit.run import AuditOptions
from data_pipeline.build import BuildOptions
from data_pipeline.dataset.writer import check_target
from data_pipeline.fetch import FetchOptions
from data_pipeline.teacher import run as teacher
from data_pipeline.teacher.run import TeacherJob, TeacherOptions
from weekahead.cli import EXPECTED_ERRORS, add_options, new_parser, read_options, run_command
from weekahead.files import with_remedy


@dataclass(frozen=True)
class PipelineOptions:
    """The options of every stage."""

    fetch: FetchOptions
    teacher: TeacherOptions
    build: BuildOptions
    forecast: bool
    """Also ask about the test weeks without telling the bin."""


def run(options: PipelineOptions) -> int:
    """All stages; the exit status. 1: a stage ended short or the audit found a leak.

    Raises ValueError and OSError for errors whose message names the remedy; what was made stays.
    """
    checks = (("fetch", options.fetch), ("build", options.build), ("teacher", options.teacher))
    for name, stage in checks:
        with _named(name):
            stage.check()
    dataset = options.fetch.data / "datasets" / options.fetch.records.stem
    check_target(dataset)  # before anything is paid for
    with _stage("fetch"):
        fetched = fetch.run(options.fetch)

    with _stage("teacher"):
        # Nobody pays for answers to the weeks that the cut leaves out between two splits.
        job = TeacherJob(
            records=fetched.records,
            kind="hindsight",
            out=options.fetch.data / "teacher",
            weeks=build.kept_weeks(options.build, fetched.records),
        )
        taught = teacher.run(options.teacher, job)
    if taught.status or options.teacher.dry_run:
        return taught.status

    with _stage("build"):
        build.run(options.build, records=fetched.records, answers=taught.answers, out=dataset)

    if options.forecast:
        with _stage("teacher, not told"):
            untold = teacher.run(
                options.teacher.after_spending(taught.spent),
                replace(job, kind="forecast", only=teacher.read_ids(dataset / "test.jsonl")),
            )
        if untold.status:
            return untold.status
        with _stage("forecasts"):
            written = forecasts.run(
                dataset=dataset, records=fetched.records, answers=untold.answers
            )
        if written:
            return written

    with _stage("audit"):
        audited = audit.run(AuditOptions(str(dataset), dataset))
    # A dataset with a leak is not published.
    if options.build.push and not audited.status:
        with _stage("push"):
            build.push(dataset, options.build.push)
    return audited.status


@contextmanager
def _stage(name: str) -> Generator[None]:
    """Print the stage's name; an error in it begins with the name."""
    print(f"== {name}", flush=True)
    with _named(name):
        yield


@contextmanager
def _named(name: str) -> Generator[None]:
    try:
        yield
    except EXPECTED_ERRORS as error:
        raise ValueError(f"{name}: {with_remedy(error)}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    Exit 0 done, 1 a stage ended short or the audit found a leak, 2 an error, 130 interrupted.
    """
    parser = new_parser(__doc__, "data_pipeline")
    fetch.add_arguments(parser)
    add_options(parser, TeacherOptions)
    add_options(parser, BuildOptions)
    parser.add_argument(
        "--forecast",
        action="store_true",
        help="also ask about the test weeks without telling the bin",
    )
    arguments = parser.parse_args(argv)
    options = PipelineOptions(
        fetch=read_options(arguments, FetchOptions),
        teacher=read_options(arguments, TeacherOptions),
        build=read_options(arguments, BuildOptions),
        forecast=arguments.forecast,
    )
    return run_command("data_pipeline", lambda: run(options), resumable=True)


if __name__ == "__main__":
    sys.exit(main())
