"""Rows of the public FinGPT Forecaster datasets as rows of ours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from data_pipeline.dataset.public_text import last_week_return, repair_answer, repair_prompt, unwrap
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE, Cut, separate
from weekahead.schema.dataset_files import PUBLIC_COLUMNS
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import DatasetRow, DroppedRow, PublicRow, reference_text
from weekahead.task.answer import parse_answer
from weekahead.task.labels import check_label, label_of_magnitude
from weekahead.task.prompt import completion
from weekahead.task.times import read_day

Wording = Literal["repaired", "original"]

PROMPT_VERSIONS: dict[Wording, str] = {"repaired": "fingpt-1", "original": "fingpt-0"}
TEACHER = "gpt-4, told the label"
UNREADABLE = "answer: "
"""What a fault begins with if no bin can be read from the answer."""


@dataclass(frozen=True, kw_only=True)
class PublicDataset:
    """A public dataset in our rows."""

    splits: dict[str, list[DatasetRow]]
    dropped: list[DroppedRow]
    """Each with the `split` that it was in and a `reason`."""
    warnings: list[str]
    repaired: dict[str, int]
    """Repairs by kind over all rows that were read."""
    unreadable: dict[str, str]
    """id -> fault of the rows outside training whose reference teaches no answer for its label."""


def convert_row(row: JsonObject, wording: Wording = "repaired") -> tuple[DatasetRow, Counter[str]]:
    """One public row as ours, and the repairs made by kind.

    Raises ValueError for a missing column, an unknown label, a period other than "date to date", or
    a prompt without its [INST] wrapping. `decision_time` is the first moment (UTC) of the forecast
    week: the source states no time of day, and its prompts say "before" that day.
    """
    public = _public_row(row)
    start, end = _period(public["period"])
    system, user = unwrap(public["prompt"])
    answer = public["answer"]
    repairs = Counter[str]()
    if wording == "repaired":
        system, user, repairs = repair_prompt(system, user)
        answer, answer_repairs = repair_answer(answer)
        repairs = repairs + answer_repairs
    ours: DatasetRow = {
        "id": f"{public['symbol']}-{start}",
        "symbol": public["symbol"],
        "week_start": start,
        "week_end": end,
        "decision_time": f"{start}T00:00:00+00:00",
        "period": public["period"],
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "completion": completion(answer),
        "label": check_label(public["label"]),
        "weekly_return": None,
        "last_week_return": last_week_return(user, start),
        "teacher": TEACHER,
        "prompt_version": PROMPT_VERSIONS[wording],
    }
    return ours, repairs


def convert(
    rows: Sequence[JsonObject], origin: str, wording: Wording = "repaired"
) -> tuple[list[DatasetRow], Counter[str]]:
    """All rows of one split as ours, in the same order, and the repairs by kind.

    Raises ValueError naming `origin` and the row for no rows, a row that cannot be converted and an
    id that stands twice.
    """
    if not rows:
        raise ValueError(
            f"{origin}: no rows; expected at least one with {', '.join(PUBLIC_COLUMNS)}"
        )
    converted: list[DatasetRow] = []
    repairs = Counter[str]()
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        try:
            ours, row_repairs = convert_row(row, wording)
        except ValueError as error:
            raise ValueError(f"{origin}, row {number}: {error}") from None
        first = numbers.setdefault(ours["id"], number)
        if first != number:
            raise ValueError(
                f"{origin}, row {number}: the id {ours['id']} stands in row {first} already; "
                "expected one row for a symbol and week: remove one of them"
            )
        converted.append(ours)
        repairs += row_repairs
    return converted, repairs


def answer_fault(answer: str, *, label: str) -> str | None:
    """Why a reference answer cannot teach its label; None if it can.

    It begins with `UNREADABLE` if no bin can be read; else the answer names another bin.
    """
    parsed = parse_answer(answer)
    if not parsed.valid or parsed.magnitude is None:
        return f"{UNREADABLE}{parsed.reason or 'no magnitude'}"
    named = label_of_magnitude(parsed.magnitude) if parsed.direction else "neutral"
    return None if named == label else "answer names another bin than the label"


def row_fault(row: DatasetRow) -> str | None:
    """`answer_fault` of a row of ours."""
    return answer_fault(reference_text(row), label=row["label"])


def build_public_rows(
    splits: Mapping[str, Sequence[JsonObject]],
    origins: Mapping[str, str],
    *,
    wording: Wording = "repaired",
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
) -> PublicDataset:
    """Public rows by split as a dataset of ours; `origins` names each split in errors.

    Train is cut by date as in `cut`. Validation and test rows all stay, and those whose reference
    has a fault are named in `unreadable`: their truth is the label, and a benchmark keeps its
    denominator. Raises ValueError for rows that cannot be converted.
    """
    ours: dict[str, list[DatasetRow]] = {}
    repaired = Counter[str]()
    for name, rows in splits.items():
        ours[name], repairs = convert(rows, origins[name], wording)
        repaired += repairs
    parts = cut_public_rows(ours, validation_share, gap_weeks)
    ours |= {"train": parts.train, "validation": parts.validation}
    outside_training = (row for name, rows in ours.items() if name != "train" for row in rows)
    faults = {row["id"]: row_fault(row) for row in outside_training}
    return PublicDataset(
        splits={name: rows for name, rows in ours.items() if rows},
        dropped=parts.dropped,
        warnings=parts.warnings,
        repaired=dict(repaired),
        unreadable={name: fault for name, fault in faults.items() if fault},
    )


def cut_public_rows(
    splits: Mapping[str, Sequence[DatasetRow]], validation_share: float, gap_weeks: int
) -> Cut:
    """Train and validation of converted rows, cut by date as in `split.separate`.

    Training rows whose answer cannot be read or contradicts the label are dropped. Each dropped row
    says the `split` that it was in.
    """
    train: list[DatasetRow] = []
    dropped: list[DroppedRow] = []
    for row in splits.get("train", []):
        fault = row_fault(row)
        if fault is None:
            train.append(row)
        else:
            dropped.append({**row, "split": "train", "reason": fault})
    parts = separate({**splits, "train": train}, validation_share, gap_weeks)
    validation_ids = {row["id"] for row in splits.get("validation", [])}
    for row in parts.dropped:
        split = "validation" if row["id"] in validation_ids else "train"
        dropped.append({**row, "split": split})
    return Cut(parts.train, parts.validation, dropped, parts.warnings)


def _public_row(row: JsonObject) -> PublicRow:
    """`row` if it has the public columns. Raises ValueError naming the column that is at fault."""
    missing = [name for name in PUBLIC_COLUMNS if name not in row]
    if missing:
        raise ValueError(
            f"missing column {', '.join(missing)}; expected {', '.join(PUBLIC_COLUMNS)}, "
            f"found {', '.join(row)}"
        )
    for name in PUBLIC_COLUMNS:
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"column {name} is {row[name]!r}; expected a text that is not empty")
    return cast("PublicRow", row)


def _period(text: str) -> tuple[str, str]:
    start, _, end = text.partition(" to ")
    try:
        ordered = read_day(start, "start") < read_day(end, "end")
    except ValueError:
        ordered = False
    if not ordered:
        raise ValueError(
            f"period is {text!r}; expected two dates in order, such as '2024-03-03 to 2024-03-10'"
        )
    return start, end
