"""Records and the teacher's accepted answers into a dataset, cut by date:

python -m data_pipeline.build data/records/dow30.jsonl --answers data/teacher/gpt-4.1/hindsight.jsonl --name dow30

Rows pass through one at a time, so a dataset of any size takes the same memory.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from data_pipeline.dataset.card import write_card
from data_pipeline.dataset.row import dataset_row
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE, cut_calendar
from data_pipeline.dataset.statistics import DatasetStatistics
from data_pipeline.dataset.token_lengths import LengthSample
from data_pipeline.dataset.writer import MANIFEST, replacing_folder
from data_pipeline.teacher.answer_log import AnswerIndex
from weekahead import files
from weekahead.files import Row
from weekahead.manifest import new_manifest
from weekahead.task.prompt import PROMPT_VERSION
from weekahead.task.record import Record, look_ahead, read_records

SPLITS = ("train", "validation", "test")
TEST_SHARE = 0.2


def build(
    records: Path, answers: AnswerIndex, out: Path, shares: tuple[float, float], gap_weeks: int
) -> Row:
    """Write the dataset folder `out` from a file of records, whole or not at all, and return its manifest.

    `shares` are those of test and validation. Every record is in one split or in `dropped.jsonl` with a reason:
    the gap, no return yet, or no accepted answer. A test row without an answer stays: its truth is the label.
    Raises ValueError for no records, a record that cannot be read, and a fact known after its decision_time.
    """
    split_of, warnings, read = cut(records, shares, gap_weeks)
    facts, sample = DatasetStatistics(), LengthSample()
    with replacing_folder(out) as new:
        with ExitStack() as stack:
            parts = {name: stack.enter_context((new / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n"))
                     for name in (*SPLITS, "dropped")}  # fmt: skip
            for record in _records(records):
                row, reason = _placed(record, answers, split_of[record.week_start])
                name = "dropped" if reason else split_of[record.week_start]
                _write(parts[name], {**row, "reason": reason} if reason else row)
                facts.add(row, name, reason)
                if not reason:
                    sample.add(row)
        manifest = _manifest(
            new,
            records,
            answers,
            facts,
            sample,
            shares,
            gap_weeks,
            warnings,
            read,
            set(split_of.values()),
        )
        write_card(new / "README.md", out.name, manifest)
        # Last: where it stands, the dataset is whole.
        files.write_json(new / MANIFEST, manifest)
    return manifest


def cut(
    records: Path, shares: tuple[float, float], gap_weeks: int
) -> tuple[dict[str, str], list[str], int]:
    """(week -> its split or "gap", warnings, records) of a file of records; no answer has a say in it."""
    counts = Counter(row["week_start"] for row in files.iter_jsonl(records))
    if not counts:
        raise ValueError(f"{records}: no records; fetch some first (python -m data_pipeline.fetch)")
    split_of, warnings = cut_calendar(
        counts, test_share=shares[0], validation_share=shares[1], gap_weeks=gap_weeks
    )
    return split_of, warnings, sum(counts.values())


def _records(path: Path) -> Iterator[Record]:
    """The records of a file, each held against its decision_time. A dataset that looks ahead is never written."""
    for record in read_records(path):
        if ahead := look_ahead(record):
            raise ValueError(
                f"{path}: {record.id} (decided {record.decision_time}) looks ahead: {ahead[0]}"
            )
        yield record


def _placed(record: Record, answers: AnswerIndex, split: str) -> tuple[Row, str | None]:
    """(row, why it is dropped or None)."""
    answer = answers.find(record) if record.label else None
    row = dataset_row(record, answer or "", answers.teacher)
    if record.label is None:
        return row, "no return yet"
    if split == "gap":
        return row, "gap"
    if answer is None and split != "test":
        return row, f"no answer: {answers.reason(record)}"
    return row, None


def _write(file: IO[str], row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _manifest(new: Path, records: Path, answers: AnswerIndex, facts: DatasetStatistics, sample: LengthSample,
              shares: tuple[float, float], gap_weeks: int, warnings: list[str], read: int,
              wanted: set[str]) -> Row:  # fmt: skip
    kept = facts.splits()
    for name in SPLITS:
        if name not in kept:
            (new / f"{name}.jsonl").unlink()
    missing = [name for name in SPLITS if name in wanted and name not in kept]
    return new_manifest(
        kind="dataset",
        splits={name: {**kept[name], "sha256": files.sha256(new / f"{name}.jsonl")} for name in kept},
        dropped=facts.dropped(),
        read=read,
        without_reference=facts.without_reference,
        labels=facts.labels(),
        weeks=facts.weeks(),
        train_majority=facts.train_majority(),
        records={"file": records.name, "sha256": files.sha256(records),
                 "fetch": fetch_manifest(records)},
        answers={"model": answers.teacher, "sha256": files.sha256(answers.path)},
        prompt_version=PROMPT_VERSION,
        context_weeks=gap_weeks,
        shares={"test": shares[0], "validation": shares[1]},
        synthetic=facts.synthetic,
        tokens=sample.lengths(),
        warnings=[*warnings, *(f"no row of {name} is left: none of its records has an answer" for name in missing)],
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this stage."""
    parser.add_argument(
        "--test_share", type=float, default=TEST_SHARE, help="share of the rows, the last weeks"
    )
    parser.add_argument("--validation_share", type=float, default=VALIDATION_SHARE)
    parser.add_argument(
        "--gap_weeks",
        type=int,
        help="weeks left out between two splits (default: the longest context)",
    )
    parser.add_argument(
        "--push", metavar="USER/NAME", help="publish dataset and card to the Hub, privately"
    )


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for arguments that cannot work, before anything is asked for."""
    for name in ("test_share", "validation_share"):
        if not 0 < getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}; expected a fraction such as 0.2")
    if args.gap_weeks is not None and args.gap_weeks < 0:
        raise ValueError(f"--gap_weeks is {args.gap_weeks}; expected 0 or more")


def gap_of(args: argparse.Namespace, records: Path) -> int:
    """The gap asked for, else the longest context that these records show, as their manifest says."""
    if args.gap_weeks is not None:
        return args.gap_weeks
    fetched = fetch_manifest(records)
    return fetched["context_weeks"][1] if fetched else CONTEXT_WEEKS


def fetch_manifest(records: Path) -> Row | None:
    """The manifest beside a file of records; None where there is none."""
    path = records.with_name(f"{records.stem}.manifest.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def run(args: argparse.Namespace) -> int:
    """Build `args.datasets/<args.name>` and print what is in it. Raises ValueError and OSError."""
    check(args)
    out = args.datasets / args.name
    shares = (args.test_share, args.validation_share)
    manifest = build(
        args.records, AnswerIndex(args.answers), out, shares, gap_of(args, args.records)
    )
    tell(out, manifest)
    return run_push(argparse.Namespace(dataset=out, push=args.push)) if args.push else 0


def run_push(args: argparse.Namespace) -> int:
    """Publish the dataset folder `args.dataset` to `args.push` on the Hub and print the commit's address."""
    from data_pipeline.dataset.push import push_dataset

    print(push_dataset(args.dataset, args.push))
    return 0


def tell(out: Path, manifest: Row) -> None:
    """Print a dataset's splits, what was dropped, and warnings; the folder last."""
    for name, part in manifest["splits"].items():
        print(
            f"{name:12} {part['rows']:6} rows, {part['weeks']} weeks, {part['first_week']} to {part['last_week']}"
        )
    for reason, count in manifest["dropped"].items():
        print(f"dropped      {count:6} rows: {reason}")
    for warning in manifest["warnings"]:
        print(f"warning: {warning}")
    print(out)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 built, 2 for something the message says how to mend."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        files.load_env()
        return run(args)
    except (ValueError, OSError) as error:
        print(f"data_pipeline.build: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
