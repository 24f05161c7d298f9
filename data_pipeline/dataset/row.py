"""A record and its reference answer as one row of a dataset."""

from weekahead.files import Row
from weekahead.task.prompt import PROMPT_VERSION, completion, render_prompt
from weekahead.task.record import Record, known_at


def dataset_row(record: Record, answer: str, teacher: str) -> Row:
    """A record and its reference answer as a row of a dataset.

    `known_at` is when its last fact became known; `financials_known_at` is there only where a filing proves it.
    """
    return {
        "id": record.id,
        "symbol": record.symbol,
        "week_start": record.week_start,
        "week_end": record.week_end,
        "decision_time": record.decision_time,
        "known_at": known_at(record),
        "financials_known_at": record.financials.known_at
        if record.financials and record.financials.filed
        else None,
        "prompt": render_prompt(record),
        "completion": completion(answer),
        "label": record.label,
        "weekly_return": record.weekly_return,
        "last_week_return": record.last_week_return,
        "teacher": teacher,
        "prompt_version": PROMPT_VERSION,
        **record.extra,
    }
