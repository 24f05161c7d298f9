"""One row of generated answers: whether it can be scored, what it predicts, what came true."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics.baselines import BASELINES, Prediction, read_number
from eval.metrics.rouge import Rouge, has_tokens, keeps_letters, section_rouge
from eval.metrics.text_quality import check_prompt_column
from weekahead.recipe import read_cutoff
from weekahead.schema.rows import RougeScores, RowIdentity, RowScores, ScorableRow, ScoredRow
from weekahead.task.answer import Answer, parse_answer
from weekahead.task.labels import check_label, direction_of, label_of_magnitude, magnitude_of

SECTIONS = {"pros": "positives", "cons": "concerns", "anal": "analysis"}
"""Upstream's name of a section's scores -> the field of an Answer."""
_TEXTS = ("generation", "answer")
_NAMES = ("id", "symbol", "period", "week_end")
_FLAGS = ("synthetic", "teacher_told", "latency_measured")
_COUNTED = ("seconds", "latency_seconds", "new_tokens")
"""Numbers that cannot be negative. Last week's return is read by the baselines."""


@dataclass(frozen=True)
class Scored:
    """One row with its answer read: the prediction, the truth, and the ROUGE of each section."""

    row: ScorableRow
    answer: Answer
    """The generation as the lenient reading parses it."""
    prediction: Prediction
    truth: Prediction | None
    valid_strict: bool
    valid_lenient: bool
    reason: str | None
    """Why the lenient reading failed; None if it did not."""
    reason_strict: str | None
    rouge: dict[str, RougeScores | None]
    """By the keys of SECTIONS; None if the reference has no such section, or for `unread`."""
    unread: frozenset[str]
    """The sections of which ROUGE's tokenizer would drop most letters."""
    rouge_written: dict[str, RougeScores | None]
    """The same for each section that has a text, in an answer that was rejected too; else None."""
    reference: Answer
    """The reference as the lenient reading parses it."""

    def to_json(self) -> ScoredRow:
        """This row of scored.jsonl."""
        truth = self.truth or Prediction(None, None)
        scores: RowScores = {
            "direction": self.prediction.direction,
            "magnitude": self.prediction.magnitude,
            "valid_strict": self.valid_strict,
            "valid_lenient": self.valid_lenient,
            "reason": self.reason,
            "reason_strict": self.reason_strict,
            "truth_direction": truth.direction,
            "truth_magnitude": truth.magnitude,
            "pros_rouge_scores": self.rouge["pros"],
            "cons_rouge_scores": self.rouge["cons"],
            "anal_rouge_scores": self.rouge["anal"],
        }
        identity: RowIdentity = {}
        if (row_id := self.row.get("id")) is not None:
            identity["id"] = row_id
        if (symbol := self.row.get("symbol")) not in (None, ""):
            identity["symbol"] = str(symbol)
        if (period := self.row.get("period")) not in (None, ""):
            identity["period"] = str(period)
        return {**identity, **scores}


def check_scorable_rows(rows: Sequence[ScorableRow]) -> None:
    """Raise ValueError for the first thing that cannot be scored, naming row (from 1), id and
    value.

    That is: no rows, a row without `generation` or `answer`, one of them not a text (null counts as
    an empty one), an unknown label, an invalid number, date or prompt, an unreadable
    train_majority, or an id that came before.
    """
    if not rows:
        raise ValueError("no rows; expected at least one row with `generation` and `answer`")
    first_rows: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        row_id = row.get("id")
        name = f"row {number}" if row_id is None else f"row {number} (id {row_id})"
        try:
            _check_row(row)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if row_id is None:
            continue
        first = first_rows.setdefault(str(row_id), number)
        if first != number:
            raise ValueError(f"{name}: the id came before in row {first}; score each row once")


def _check_row(row: ScorableRow) -> None:
    _check_kinds(row)
    label = row.get("label")
    if label is not None:
        check_label(label)
    for key in _COUNTED:
        read_number(row, key, smallest=0.0)
    read_number(row, "weekly_return")
    read_cutoff(row)
    check_prompt_column(row)
    for predict in BASELINES.values():
        predict(row)


def _check_kinds(row: ScorableRow) -> None:
    """Raise ValueError for a value of another type than its column has."""
    for column in _TEXTS:
        if column not in row:
            raise ValueError(
                f"no column {column!r}; a row needs `generation` (the model's text) and `answer` "
                f"(the reference text), found: {', '.join(row) or 'nothing'}"
            )
        if not isinstance(row[column], str | None):
            raise ValueError(f"{column} is {row[column]!r}; expected a text or null")
    for column in _NAMES:
        value = row.get(column)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise ValueError(f"{column} is {value!r}; expected a text or a whole number")
    for column in _FLAGS:
        if not isinstance(row.get(column), bool | None):
            raise ValueError(f"{column} is {row.get(column)!r}; expected true or false")


def score_row(row: ScorableRow, rouge: Rouge = section_rouge) -> Scored:
    """Read one row's generation and reference; `rouge` scores (reference, generation).

    A generation that the lenient reading rejects predicts nothing and shares nothing with its
    reference: its ROUGE is 0 even if one of its sections could be read. Raises ValueError for an
    unknown label.
    """
    answer, reference = parse_answer(row["generation"]), parse_answer(row["answer"])
    strict = parse_answer(row["generation"], strict=True)
    readable = answer if answer.valid else Answer()
    scores, unread = _rouge_by_section(reference, readable, rouge)
    of_texts = scores if answer.valid else _rouge_by_section(reference, answer, rouge)[0]
    return Scored(
        row=row,
        answer=answer,
        prediction=Prediction(readable.direction, readable.magnitude),
        truth=_truth(row.get("label"), reference),
        valid_strict=strict.valid,
        valid_lenient=answer.valid,
        reason=answer.reason,
        reason_strict=strict.reason,
        rouge=scores,
        unread=unread,
        rouge_written={
            name: score if getattr(answer, SECTIONS[name]).strip() else None
            for name, score in of_texts.items()
        },
        reference=reference,
    )


def _rouge_by_section(
    reference: Answer, answer: Answer, rouge: Rouge
) -> tuple[dict[str, RougeScores | None], frozenset[str]]:
    """The ROUGE of each section that the reference has, and the sections that cannot be read."""
    scores: dict[str, RougeScores | None] = {}
    unread: set[str] = set()
    for name, section in SECTIONS.items():
        texts: tuple[str, str] = (getattr(reference, section), getattr(answer, section))
        is_there = bool(texts[0].strip())
        if not all(map(keeps_letters, texts)) or (is_there and not has_tokens(texts[0])):
            unread.add(name)
        is_scored = is_there and name not in unread
        scores[name] = rouge(*texts) if is_scored else None
    return scores, frozenset(unread)


def _truth(label: str | None, reference: Answer) -> Prediction | None:
    """What came true: the label, else what the reference predicts; None if both are missing.

    A neutral reference is not a truth: a week is up or down.
    """
    if label is not None:
        return Prediction(direction_of(label), magnitude_of(label))
    if reference.valid and reference.direction in (-1, 1):
        return Prediction(reference.direction, reference.magnitude)
    return None


def bin_of(prediction: Prediction) -> str | None:
    """The bin of a prediction by its size; None if it is neutral, unreadable or states no size."""
    if prediction.direction not in (-1, 1) or prediction.magnitude is None:
        return None
    return label_of_magnitude(prediction.magnitude)
