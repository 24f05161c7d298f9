"""Records and the teacher's accepted answers into a dataset, cut by date:

python -m data_pipeline.build data/records/dow30.jsonl \\
    --answers data/teacher/gpt-4.1/hindsight.jsonl --name dow30

Rows pass through one at a time: of a dataset of any size only the ids are kept in memory.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple, cast

from data_pipeline.dataset.card import write_card
from data_pipeline.dataset.row import dataset_row
from data_pipeline.dataset.split import CONTEXT_WEEKS, GAP, VALIDATION_SHARE, cut_calendar
from data_pipeline.dataset.statistics import DatasetStatistics
from data_pipeline.dataset.token_lengths import LengthSample
from data_pipeline.dataset.writer import replacing_folder, summary_lines
from data_pipeline.records.checks import checked_records
from data_pipeline.teacher.answer_log import AnswerIndex
from weekahead import files
from weekahead.cli import add_options, new_parser, option, read_options, run_command
from weekahead.manifest import new_manifest
from weekahead.names import check_name
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import (
    BuiltManifest,
    RecordsManifest,
    SplitFacts,
    read_records_manifest,
)
from weekahead.schema.rows import DatasetRow
from weekahead.task.prompt import PROMPT_VERSION
from weekahead.task.record import Record, read_records

SPLITS = ("train", "validation", "test")
DROPPED = "dropped"
"""The name of the file of rows that are in no split."""


@dataclass(frozen=True)
class BuildOptions:
    """How the records are cut, and where the dataset is published."""

    test_share: float = option(0.2, help="share of the rows, the last weeks")
    validation_share: float = option(VALIDATION_SHARE, help="share of the rows before them")
    gap_weeks: int | None = option(
        None, help="weeks left out between two splits (default: the longest context)"
    )
    push: str | None = option(
        None, metavar="USER/NAME", help="publish dataset and card to the Hub, privately"
    )

    def check(self) -> None:
        """Raise ValueError for options that cannot work, before anything is asked for."""
        for name in ("test_share", "validation_share"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise ValueError(f"--{name} is {share}; expected a fraction such as 0.2")
        if self.gap_weeks is not None and self.gap_weeks < 0:
            raise ValueError(f"--gap_weeks is {self.gap_weeks}; expected 0 or more")
        if self.push:
            from weekahead.hub.client import check_repo_id

            check_repo_id(self.push, "--push")

    def gap_for(self, records: Path) -> int:
        """The gap in weeks: as asked, else the longest context that the records' manifest names."""
        if self.gap_weeks is not None:
            return self.gap_weeks
        fetched = fetch_manifest(records)
        return fetched["context_weeks"][1] if fetched else CONTEXT_WEEKS


class Calendar(NamedTuple):
    """Which split each week belongs to."""

    split_of: dict[str, str]
    """week_start -> train, validation, test, or "gap" for a week between two splits."""
    warnings: list[str]
    records: int


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a build wrote, and from what."""

    folder: Path
    records: Path
    answers: AnswerIndex
    options: BuildOptions
    calendar: Calendar
    statistics: DatasetStatistics
    sample: LengthSample
    sha256: dict[str, str]
    """Of the file of each split that has rows."""

    @cached_property
    def manifest(self) -> BuiltManifest:
        """The manifest of the dataset folder."""
        counts = self.statistics.splits()
        splits: dict[str, SplitFacts] = {}
        for name in counts:
            splits[name] = {**counts[name], "sha256": self.sha256[name]}
        manifest = new_manifest(
            kind="dataset",
            splits=splits,
            dropped=self.statistics.dropped(),
            read=self.calendar.records,
            without_reference=self.statistics.without_reference,
            labels=self.statistics.labels(),
            weeks=self.statistics.weeks(),
            train_majority=self.statistics.train_majority(),
            records={
                "file": self.records.name,
                "sha256": files.sha256(self.records),
                "fetch": fetch_manifest(self.records),
            },
            answers={"model": self.answers.teacher, "sha256": files.sha256(self.answers.path)},
            prompt_version=PROMPT_VERSION,
            context_weeks=self.options.gap_for(self.records),
            shares={
                "test": self.options.test_share,
                "validation": self.options.validation_share,
            },
            synthetic=self.statistics.synthetic,
            tokens=self.sample.lengths(),
            warnings=[*self.calendar.warnings, *self._empty_split_warnings()],
        )
        return cast("BuiltManifest", manifest)

    def _empty_split_warnings(self) -> list[str]:
        wanted = set(self.calendar.split_of.values())
        return [
            f"no row of {name} is left: none of its records has an answer"
            for name in SPLITS
            if name in wanted and name not in self.sha256
        ]


def build(options: BuildOptions, *, records: Path, answers: AnswerIndex, out: Path) -> BuildResult:
    """Write the dataset folder `out` from a file of records, whole or not at all.

    Every record is in one split or in `dropped.jsonl` with a reason: the gap, no return yet, or no
    accepted answer. A test row without an answer stays: its truth is the label.
    Raises ValueError as `cut` does, before anything is written.
    """
    calendar = cut(options, records)
    statistics, sample = DatasetStatistics(), LengthSample()
    with replacing_folder(out) as folder:
        with _open_files(folder) as split_files:
            for record in read_records(records):
                split = calendar.split_of[record.week_start]
                answer = answers.find(record) if record.label else None
                row = _row(record, answer or "", answers, records)
                reason = _drop_reason(record, answer, split, answers)
                if reason:
                    statistics.add_dropped(row, reason)
                    split_files[DROPPED].write(files.json_line({**row, "reason": reason}, str(out)))
                else:
                    statistics.add(row, split)
                    sample.add(row)
                    split_files[split].write(files.json_line(row, str(out)))
        with_rows = statistics.splits()
        for name in SPLITS:
            if name not in with_rows:
                (folder / f"{name}.jsonl").unlink()
        result = BuildResult(
            folder=out,
            records=records,
            answers=answers,
            options=options,
            calendar=calendar,
            statistics=statistics,
            sample=sample,
            sha256={name: files.sha256(folder / f"{name}.jsonl") for name in with_rows},
        )
        write_card(folder / "README.md", out.name, result.manifest)
        # The manifest comes last: if it is there, the dataset is whole.
        files.write_json(folder / MANIFEST, result.manifest)
    return result


def _row(record: Record, answer: str, answers: AnswerIndex, records: Path) -> DatasetRow:
    try:
        return dataset_row(record, answer, answers.teacher, told=answers.told)
    except ValueError as error:
        raise ValueError(f"{records}: {record.id}: {error}; fetch the records again") from None


def cut(options: BuildOptions, records: Path) -> Calendar:
    """The split of each week of a file of records, whatever their answers.

    Raises ValueError for a file without records, and as `checked_records` does.
    """
    counts = Counter(record.week_start for record in checked_records(records))
    if not counts:
        raise ValueError(f"{records}: no records; fetch some first (python -m data_pipeline.fetch)")
    split_of, warnings = cut_calendar(
        counts,
        test_share=options.test_share,
        validation_share=options.validation_share,
        gap_weeks=options.gap_for(records),
    )
    return Calendar(split_of, warnings, counts.total())


def kept_weeks(options: BuildOptions, records: Path) -> set[str]:
    """The weeks (`week_start`) of a file of records that a build puts into a split."""
    return {week for week, split in cut(options, records).split_of.items() if split != GAP}


def fetch_manifest(records: Path) -> RecordsManifest | None:
    """The manifest beside a file of records; None if there is none."""
    path = records.with_name(f"{records.stem}.manifest.json")
    return read_records_manifest(path) if path.is_file() else None


def run(options: BuildOptions, *, records: Path, answers: Path, out: Path) -> BuildResult:
    """Build the dataset folder `out` and print what is in it. Raises ValueError and OSError."""
    options.check()
    result = build(options, records=records, answers=AnswerIndex(answers), out=out)
    manifest = result.manifest
    for line in summary_lines(manifest["splits"], manifest["dropped"]):
        print(line)
    for warning in manifest["warnings"]:
        print(f"warning: {warning}")
    print(out)
    return result


def push(folder: Path, repo: str) -> None:
    """Publish a dataset folder to `repo` (user/name) on the Hub and print the commit's address."""
    from data_pipeline.dataset.push import push_dataset
    from weekahead.hub.upload import Target

    print(push_dataset(folder, Target(repo, kind="dataset", flag="--push")))


@contextmanager
def _open_files(folder: Path) -> Iterator[dict[str, IO[str]]]:
    """A new file for each split and for the dropped rows, open for writing."""
    with ExitStack() as stack:
        split_files: dict[str, IO[str]] = {}
        for name in (*SPLITS, DROPPED):
            path = folder / f"{name}.jsonl"
            file = path.open("w", encoding="utf-8", newline="\n")
            split_files[name] = stack.enter_context(file)
        yield split_files


def _drop_reason(
    record: Record, answer: str | None, split: str, answers: AnswerIndex
) -> str | None:
    """Why a record is in no split; None if it is in one."""
    if record.label is None:
        return "no return yet"
    if split == GAP:
        return GAP
    if answer is None and split != "test":
        return f"no answer: {answers.reason(record)}"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 built, 2 for an error that the message says how to mend."""
    parser = new_parser(__doc__, "data_pipeline.build")
    parser.add_argument("records", type=Path, help="data/records/<name>.jsonl")
    parser.add_argument(
        "--answers", type=Path, required=True, help="data/teacher/<model>/hindsight.jsonl"
    )
    parser.add_argument("--name", required=True, help="name of the dataset")
    parser.add_argument(
        "--datasets",
        type=Path,
        default=Path("data/datasets"),
        help="folder of the dataset's folder",
    )
    add_options(parser, BuildOptions)
    arguments = parser.parse_args(argv)
    options = read_options(arguments, BuildOptions)

    def work() -> int:
        out = arguments.datasets / check_name("--name", arguments.name)
        run(options, records=arguments.records, answers=arguments.answers, out=out)
        if options.push:
            push(out, options.push)
        return 0

    return run_command("data_pipeline.build", work)


if __name__ == "__main__":
    sys.exit(main())
