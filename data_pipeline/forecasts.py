"""The teacher's own forecasts of a dataset's test weeks, in the form that `eval.score` reads:

python -m data_pipeline.forecasts data/datasets/dow30 data/records/dow30.jsonl --answers .../forecast.jsonl

It was not told the bin here, so this is the honest row for a teacher in a comparison.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipeline.dataset.writer import MANIFEST
from data_pipeline.teacher.answer_log import AnswerIndex
from weekahead import files
from weekahead.files import Row
from weekahead.task.record import read_records


def forecast_rows(dataset: Path, records: Path, answers: AnswerIndex) -> Iterator[Row]:
    """A row for every test row of `dataset`; without an accepted answer its `generation` is empty: scored as wrong.

    Raises ValueError for answers to a teacher that was told, and OSError for a file that is not there.
    """
    if answers.kind != "forecast":
        raise ValueError(
            f"{answers.path} holds answers of kind {answers.kind!r}; expected a teacher that was not told"
        )
    majority = json.loads((dataset / MANIFEST).read_text(encoding="utf-8"))["train_majority"]
    tests = {row["id"]: row for row in files.iter_jsonl(dataset / "test.jsonl")}
    for record in read_records(records):
        if row := tests.get(record.id):
            yield {
                **{
                    name: row[name]
                    for name in ("id", "symbol", "week_end", "label", "last_week_return")
                },
                "period": f"{row['week_start']} to {row['week_end']}",
                "split": "test",
                "answer": row["completion"][0]["content"],
                "generation": answers.find(record) or "",
                "train_majority": majority,
                **({"synthetic": True} if row.get("synthetic") else {}),
            }


def run(args: argparse.Namespace) -> int:
    """Write `<dataset>/forecast.jsonl` and print how to score it."""
    target = args.dataset / "forecast.jsonl"
    count = files.write_jsonl(
        target, forecast_rows(args.dataset, args.records, AnswerIndex(args.answers))
    )
    print(f"{target} ({count} rows); score it: python -m eval.score {target} --out results/teacher")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 written, 2 for something the message says how to mend."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="data/datasets/<name>")
    parser.add_argument("records", type=Path, help="data/records/<name>.jsonl")
    parser.add_argument(
        "--answers", type=Path, required=True, help="data/teacher/<model>/forecast.jsonl"
    )
    args = parser.parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError) as error:
        print(f"data_pipeline.forecasts: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
