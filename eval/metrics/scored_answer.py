"""One row of generated answers: whether it can be scored, what was called, what came true, and its week."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from eval.metrics.baselines import BASELINES, Prediction, read_number
from eval.metrics.rouge import section_rouge
from eval.metrics.text_quality import check_prompt
from weekahead.files import Row
from weekahead.recipe import read_cutoff
from weekahead.task.answer import Answer, parse_answer
from weekahead.task.labels import check_label, direction_of, label_of_magnitude, magnitude_of

SECTIONS = {"pros": "positives", "cons": "concerns", "anal": "analysis"}
"""Upstream's name of a section's scores -> the field of an Answer."""
Rouge = Callable[[str, str], dict[str, float]]
"""(reference, generation) -> the F1 of each kind."""
_NUMBERS = ("seconds", "latency_seconds", "new_tokens", "last_week_return")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Scored:
    """One row with its answer read: what was called, what came true, and the ROUGE of each section."""

    row: Row
    answer: Answer
    """The generation as the lenient reading finds it."""
    call: Prediction
    truth: Prediction | None
    valid_strict: bool
    valid_lenient: bool
    reason: str | None
    """Why the lenient reading failed; None when it did not."""
    reason_strict: str | None
    rouge: dict[str, dict[str, float] | None]
    """By the keys of SECTIONS; None where the reference has no such section."""

    def to_json(self) -> Row:
        """This row of scored.jsonl."""
        truth = self.truth or Prediction(None, None)
        return {
            **({"id": self.row["id"]} if self.row.get("id") is not None else {}),
            "direction": self.call.direction,
            "magnitude": self.call.magnitude,
            "valid_strict": self.valid_strict,
            "valid_lenient": self.valid_lenient,
            "reason": self.reason,
            "reason_strict": self.reason_strict,
            "truth_direction": truth.direction,
            "truth_magnitude": truth.magnitude,
            **{f"{name}_rouge_scores": scores for name, scores in self.rouge.items()},
        }


def check_rows(rows: Sequence[Row]) -> None:
    """Raise ValueError for the first thing that cannot be scored, naming row (from 1), id and value.

    That is: no rows, a row without `generation` or `answer`, one of them not a text (null is an empty
    one), an unknown label, a number, date or prompt that is none, an unreadable train_majority, and an id that
    came before.
    """
    if not rows:
        raise ValueError("no rows; expected at least one row with `generation` and `answer`")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        name = f"row {number}" + (f" (id {row['id']})" if row.get("id") is not None else "")
        try:
            _check_row(row)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if row.get("id") is not None:
            first = seen.setdefault(str(row["id"]), number)
            if first != number:
                raise ValueError(f"{name}: the id came before in row {first}; score each row once")


def _check_row(row: Row) -> None:
    for column in ("generation", "answer"):
        if column not in row:
            raise ValueError(
                f"no column {column!r}; a row needs `generation` (the model's text) and `answer` (the "
                f"reference text), found: {', '.join(row) or 'nothing'}"
            )
        if not isinstance(row[column], str | None):
            raise ValueError(f"{column} is {row[column]!r}; expected a text or null")
    if row.get("label") is not None:
        check_label(row["label"])
    for key in _NUMBERS:
        read_number(row, key)
    read_cutoff(row)
    check_prompt(row)
    for call in BASELINES.values():
        call(row)


def score_row(row: Row, rouge: Rouge = section_rouge) -> Scored:
    """Read one row's generation and reference; `rouge` scores (reference, generation).

    A generation that is not lenient-valid calls nothing and shares nothing with its reference: its ROUGE
    is 0 even where one of its sections could be read. Raises ValueError for an unknown label.
    """
    answer, reference = parse_answer(row["generation"]), parse_answer(row["answer"])
    strict = parse_answer(row["generation"], strict=True)
    read = answer if answer.valid else Answer()
    return Scored(
        row=row,
        answer=answer,
        call=Prediction(read.direction, read.magnitude),
        truth=_truth(row.get("label"), reference),
        valid_strict=strict.valid,
        valid_lenient=answer.valid,
        reason=answer.reason,
        reason_strict=strict.reason,
        rouge={
            name: rouge(text, getattr(read, part))
            if (text := getattr(reference, part)).strip()
            else None
            for name, part in SECTIONS.items()
        },
    )


def _truth(label: str | None, reference: Answer) -> Prediction | None:
    """What came true: the label, else what the reference says of it; None for neither.

    A neutral reference says neither: a week is up or down.
    """
    if label is not None:
        return Prediction(direction_of(label), magnitude_of(label))
    if reference.valid and reference.direction in (-1, 1):
        return Prediction(reference.direction, reference.magnitude)
    return None


def bin_of(call: Prediction) -> str | None:
    """The bin of a call by its size, or None where it is neutral, unreadable or states no size."""
    if call.direction not in (-1, 1) or call.magnitude is None:
        return None
    return label_of_magnitude(call.magnitude)


def week_keys(rows: Sequence[Row]) -> tuple[list[str] | None, str | None]:
    """The week of each row, or None and the reason.

    From `period`, else `week_end`, else the date in `id`: the first of them that every row has, since
    two names for one week in one file would count as two weeks.
    """
    if not rows:
        return None, "no row with a truth"
    for read in (_period, _week_end, _date_in_id):
        keys = [read(row) for row in rows]
        if all(keys):
            return [str(key) for key in keys], None
    return None, "no week that every row has: neither `period` nor `week_end` nor a date in `id`"


def _period(row: Row) -> str:
    return str(row.get("period") or "").strip()


def _week_end(row: Row) -> str:
    return str(row.get("week_end") or "").strip()


def _date_in_id(row: Row) -> str:
    return (_DATE.findall(str(row.get("id") or "")) or [""])[-1]


def week_start(row: Row) -> date | None:
    """The first day of the forecast week: from `period`, else the date in `id`; None where neither has one."""
    days = _DATE.findall(_period(row))[:1] or [_date_in_id(row)]
    try:
        return date.fromisoformat(days[0])
    except ValueError:
        return None
