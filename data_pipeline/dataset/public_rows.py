"""Rows of the public FinGPT Forecaster datasets as rows of ours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from data_pipeline.dataset.public_text import last_week_return, repair_answer, repair_prompt, unwrap
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE, Cut, separate
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import DatasetRow, DroppedRow, reference_text
from weekahead.task.answer import parse_answer
from weekahead.task.labels import check_label, label_of_magnitude
from weekahead.task.prompt import completion

Wording = Literal["repaired", "original"]


PUBLIC_COLUMNS = ("prompt", "answer", "period", "label", "symbol")


PROMPT_VERSIONS: dict[Wording, str] = {"repaired": "fingpt-1", "original": "fingpt-0"}


TEACHER = "gpt-4, told the label"


@dataclass(frozen=True)
class PublicDataset:
    """A public dataset in our rows: splits, dropped rows (with `split` and `reason`), and what was found."""

    splits: dict[str, list[DatasetRow]]
    dropped: list[DroppedRow]
    warnings: list[str]
    repaired: dict[str, int]
    """Repairs by kind over all rows that were read."""
    unreadable: dict[str, str]
    """id -> reason of the rows kept outside training whose reference does not parse or contradicts its label."""


def convert_row(row: JsonObject, wording: Wording = "repaired") -> tuple[DatasetRow, Counter[str]]:
    """One public row as ours, and the repairs made by kind.

    Raises ValueError for a missing column, an unknown label, a period other than "date to date", or a
    prompt without its [INST] wrapping. `decision_time` is the first moment (UTC) of the forecast week:
    the source gives no clock, and its prompts say "before" that day.
    """
    _check_columns(row)
    start, end = _period(row["period"])
    system, user = unwrap(row["prompt"])
    answer, done = row["answer"], Counter[str]()
    if wording == "repaired":
        system, user, done = repair_prompt(system, user)
        answer, more = repair_answer(answer)
        done = done + more
    ours: DatasetRow = {
        "id": f"{row['symbol']}-{start}",
        "symbol": row["symbol"],
        "week_start": start,
        "week_end": end,
        "decision_time": f"{start}T00:00:00+00:00",
        "period": row["period"],
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "completion": completion(answer),
        "label": check_label(row["label"]),
        "weekly_return": None,
        "last_week_return": last_week_return(user, start),
        "teacher": TEACHER,
        "prompt_version": PROMPT_VERSIONS[wording],
    }
    return ours, done


def convert(
    rows: Sequence[JsonObject], origin: str, wording: Wording = "repaired"
) -> tuple[list[DatasetRow], Counter[str]]:
    """All rows of one split as ours, in the same order, and the repairs by kind.

    Raises ValueError naming `origin` and the row for no rows, a row that cannot be converted and an id
    that stands twice.
    """
    if not rows:
        raise ValueError(
            f"{origin}: no rows; expected at least one with {', '.join(PUBLIC_COLUMNS)}"
        )
    ours, repaired, places = [], Counter[str](), dict[str, int]()
    for number, row in enumerate(rows, start=1):
        try:
            new, done = convert_row(row, wording)
        except ValueError as error:
            raise ValueError(f"{origin}, row {number}: {error}") from None
        if (first := places.setdefault(new["id"], number)) != number:
            raise ValueError(
                f"{origin}, row {number}: the id {new['id']} stands in row {first} already; "
                "expected one row for a symbol and week: remove one of them"
            )
        ours.append(new)
        repaired += done
    return ours, repaired


def answer_fault(row: DatasetRow) -> str | None:
    """Why the reference of one of our rows is no training answer for its label; None when it is one."""
    answer = parse_answer(reference_text(row))
    if not answer.valid or answer.magnitude is None:
        return f"answer: {answer.reason or 'no magnitude'}"
    said = label_of_magnitude(answer.magnitude) if answer.direction else "neutral"
    return None if said == row["label"] else "answer names another bin than the label"


def build(
    splits: Mapping[str, Sequence[JsonObject]],
    origins: Mapping[str, str],
    *,
    wording: Wording = "repaired",
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
) -> PublicDataset:
    """Public rows by split as a dataset of ours; `origins` names each split in errors.

    Train is cut by date as in `cut`. Validation and test rows all stay, and those whose reference
    is at fault are named in `unreadable`: their truth is the label, and a benchmark keeps its
    denominator. Raises ValueError for rows that cannot be converted.
    """
    repaired = Counter[str]()
    ours: dict[str, list[DatasetRow]] = {}
    for name, rows in splits.items():
        ours[name], repairs = convert(rows, origins[name], wording)
        repaired += repairs
    parts = cut(ours, validation_share, gap_weeks)
    kept = {**ours, "train": parts.train, "validation": parts.validation}
    unreadable = {}
    for row in (row for name, rows in kept.items() if name != "train" for row in rows):
        fault = answer_fault(row)
        if fault is not None:
            unreadable[row["id"]] = fault
    return PublicDataset(
        splits={name: rows for name, rows in kept.items() if rows},
        dropped=parts.dropped,
        warnings=parts.warnings,
        repaired=dict(repaired),
        unreadable=unreadable,
    )


def cut(splits: Mapping[str, Sequence[DatasetRow]], validation_share: float, gap_weeks: int) -> Cut:
    """Train and validation of converted rows, cut by date (`split.separate`).

    Training rows whose answer cannot be read or contradicts the label are dropped. Each dropped row
    says the `split` that it was in.
    """
    train: list[DatasetRow] = []
    dropped: list[DroppedRow] = []
    for row in splits.get("train", []):
        fault = answer_fault(row)
        if fault is None:
            train.append(row)
        else:
            dropped.append({**row, "split": "train", "reason": fault})
    parts = separate({**splits, "train": train}, validation_share, gap_weeks)
    validation_ids = {row["id"] for row in splits.get("validation", [])}
    for row in parts.dropped:
        dropped.append({**row, "split": "validation" if row["id"] in validation_ids else "train"})
    return Cut(parts.train, parts.validation, dropped, parts.warnings)


def _check_columns(row: JsonObject) -> None:
    missing = [name for name in PUBLIC_COLUMNS if name not in row]
    if missing:
        raise ValueError(
            f"missing column {', '.join(missing)}; expected {', '.join(PUBLIC_COLUMNS)}, found {', '.join(row)}"
        )
    for name in PUBLIC_COLUMNS:
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"column {name} is {row[name]!r}; expected a text that is not empty")


def _period(text: str) -> tuple[str, str]:
    start, _, end = text.partition(" to ")
    try:
        ordered = date.fromisoformat(start) < date.fromisoformat(end)
    except ValueError:
        ordered = False
    if not ordered:
        raise ValueError(
            f"period is {text!r}; expected two dates in order, such as '2024-03-03 to 2024-03-10'"
        )
    return start, end
