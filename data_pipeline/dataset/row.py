"""A record and its reference answer as one row of a dataset."""

from typing import cast

from weekahead.schema.rows import DatasetRow
from weekahead.task.prompt import PROMPT_VERSION, completion, render_prompt
from weekahead.task.record import Record, known_at


def dataset_row(record: Record, answer: str, teacher: str, *, told: bool) -> DatasetRow:
    """A record and its reference answer as a row of a dataset; `told` is whether the teacher knew
    the label.

    `known_at` is when its last fact became known; `financials_known_at` is null unless a filing
    proves it. The label is null if the record has no return yet; such a row belongs in no split.
    Raises ValueError for a record that gives no prompt, or whose `extra` states a column again.
    """
    financials = record.financials
    row = {
        "id": record.id,
        "symbol": record.symbol,
        "week_start": record.week_start,
        "week_end": record.week_end,
        "decision_time": record.decision_time,
        "known_at": known_at(record),
        "financials_known_at": financials.known_at if financials and financials.filed else None,
        "prompt": render_prompt(record),
        "completion": completion(answer),
        "label": record.label,
        "weekly_return": record.weekly_return,
        "last_week_return": record.last_week_return,
        "teacher": teacher,
        "teacher_told": told,
        "prompt_version": PROMPT_VERSION,
    }
    twice = sorted(row.keys() & record.extra.keys())
    if twice:
        raise ValueError(f"extra states {', '.join(twice)}, which the record itself does")
    return cast("DatasetRow", {**row, **record.extra})
