"""The teacher's own forecasts of a dataset's test weeks, in the form that `eval.score` reads:

python -m data_pipeline.forecasts data/datasets/dow30 data/records/dow30.jsonl \\
    --answers data/teacher/gpt-4.1/forecast.jsonl

The teacher was not told the bin here, so this is its fair row in a comparison. An answer that was
not accepted, such as one that was cut off, stands as it came, with its finish reason: it is scored
as what it is, like a student's.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipeline.dataset.load import load_dataset
from data_pipeline.records.checks import checked_records
from data_pipeline.teacher.answer_log import AnswerIndex
from data_pipeline.teacher.prompts import without_thought_and_space
from weekahead import files
from weekahead.cli import new_parser, run_command
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import read_dataset_manifest
from weekahead.schema.rows import ScorableRow, period, reference_text


def forecast_rows(dataset: Path, records: Path, answers: AnswerIndex) -> Iterator[ScorableRow]:
    """A row for every test row of `dataset`.

    Without an accepted answer it holds the last one that came; without any its `generation` is
    empty, which is scored as wrong. `finish_reason` is the server's word.
    Raises ValueError for answers of a teacher that was told the bin and as `checked_records` does,
    OSError for a missing file.
    """
    if answers.kind != "forecast":
        raise ValueError(
            f"{answers.path} holds answers of kind {answers.kind!r}; "
            "expected a teacher that was not told"
        )
    majority = read_dataset_manifest(dataset / MANIFEST)["train_majority"]
    tests = {row["id"]: row for row in load_dataset(dataset / "test.jsonl").split().rows}
    for record in checked_records(records):
        row = tests.get(record.id)
        if row is None:
            continue
        answer = answers.latest(record)
        forecast: ScorableRow = {
            "id": row["id"],
            "symbol": row["symbol"],
            "week_end": row["week_end"],
            "label": row["label"],
            "last_week_return": row.get("last_week_return"),
            "weekly_return": row.get("weekly_return"),
            "period": period(row),
            "split": "test",
            "answer": reference_text(row),
            "generation": without_thought_and_space(answer["answer"]) if answer else "",
            "finish_reason": answer.get("finish_reason") if answer else None,
            "train_majority": majority,
        }
        if (told := row.get("teacher_told")) is not None:
            forecast["teacher_told"] = told
        if row.get("synthetic"):
            forecast["synthetic"] = True
        yield forecast


def run(*, dataset: Path, records: Path, answers: Path) -> int:
    """Write `<dataset>/forecast.jsonl` and print how to score it; 1 if it holds no answer."""
    target = dataset / "forecast.jsonl"
    rows = list(forecast_rows(dataset, records, AnswerIndex(answers)))
    without = sum(not row.get("generation") for row in rows)
    if without == len(rows):
        print(
            f"{target} is not written: none of its {len(rows)} rows has an answer in {answers}; "
            f"ask about them: python -m data_pipeline.teacher {records} --kind forecast --only "
            f"{dataset / 'test.jsonl'}",
            file=sys.stderr,
        )
        return 1
    files.write_jsonl(target, rows)
    endings = Counter(row.get("finish_reason") or "none" for row in rows if row.get("generation"))
    for reason, count in sorted(endings.items()):
        if reason.casefold() != "stop":
            print(f"warning: {count} answers may be cut off (finish reason {reason}, not stop)")
    if without:
        print(f"warning: {without} rows have no answer and are scored as wrong")
    print(
        f"{target} ({len(rows)} rows); score it: python -m eval.score {target} --out "
        "results/teacher"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 written, 1 no answer at all, 2 an error whose message has the remedy."""
    parser = new_parser(__doc__, "data_pipeline.forecasts")
    parser.add_argument("dataset", type=Path, help="data/datasets/<name>")
    parser.add_argument("records", type=Path, help="data/records/<name>.jsonl")
    parser.add_argument(
        "--answers", type=Path, required=True, help="data/teacher/<model>/forecast.jsonl"
    )
    arguments = parser.parse_args(argv)

    def work() -> int:
        return run(dataset=arguments.dataset, records=arguments.records, answers=arguments.answers)

    return run_command("data_pipeline.forecasts", work)


if __name__ == "__main__":
    sys.exit(main())
