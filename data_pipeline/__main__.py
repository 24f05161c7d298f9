"""A dataset from live providers: fetch, teacher, build and audit in turn.

python -m data_pipeline --index nasdaq100 --start 2026-01-01 --end 2026-06-30 \\
    --model gpt-4.1 --max_cost 20

Each stage is a command of its own too (`python -m data_pipeline.fetch` and so on) and keeps what it
has done: the same command goes on after an interrupt, and asks no provider for anything twice.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data_pipeline import build, fetch, forecasts
from data_pipeline.audit import run as audit
from data_pipeline.audit.run import AuditOptions
from data_pipeline.build import BuildOptions
from data_pipeline.fetch import FetchOptions
from data_pipeline.teacher import run as teacher
from data_pipeline.teacher.run import TeacherJob, TeacherOptions
from weekahead.cli import add_options, new_parser, read_options, run_command


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
    for stage in (options.fetch, options.build, options.teacher):
        stage.check()
    _print_stage("fetch")
    fetched = fetch.run(options.fetch)

    _print_stage("teacher")
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

    _print_stage("build")
    dataset = options.fetch.data / "datasets" / fetched.records.stem
    build.run(options.build, records=fetched.records, answers=taught.answers, out=dataset)

    if options.forecast:
        _print_stage("teacher, not told")
        test_ids = teacher.read_ids(dataset / "test.jsonl")
        untold = teacher.run(
            options.teacher.after_spending(taught.spent),
            replace(job, kind="forecast", only=test_ids),
        )
        if untold.status:
            return untold.status
        _print_stage("forecasts")
        forecasts.run(dataset=dataset, records=fetched.records, answers=untold.answers)

    _print_stage("audit")
    audited = audit.run(AuditOptions(str(dataset), dataset))
    # A dataset with a leak is not published.
    if options.build.push and not audited.status:
        _print_stage("push")
        build.push(dataset, options.build.push)
    return audited.status


def _print_stage(name: str) -> None:
    print(f"== {name}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    Exit 0 done, 1 a stage ended short or the audit found a leak, 2 an error, 130 interrupted.
    """
    parser = new_parser(__doc__, "python -m data_pipeline")
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
