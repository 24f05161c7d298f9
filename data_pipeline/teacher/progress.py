"""What is left to ask: the next question about a record, and the progress of a file."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from data_pipeline.teacher.answer_log import TeacherLog
from data_pipeline.teacher.costs import estimate_tokens
from data_pipeline.teacher.judgement import is_cut_off, judge_row
from data_pipeline.teacher.prompts import AnswerKind, digest, first_messages, next_messages
from weekahead.schema.rows import ChatRequest, Message, TeacherAnswerRow
from weekahead.task.record import Record

ATTEMPTS = 2
"""A record is asked, and once more if its first answer is not accepted."""


@dataclass(frozen=True)
class RequestSettings:
    """How every record is asked; all but the kind is part of each request and so of its key."""

    model: str
    kind: AnswerKind
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int | None = None

    def request(self, messages: list[Message], max_tokens: int | None = None) -> ChatRequest:
        """A chat completion request; `max_tokens` if another limit than this one is meant."""
        request: ChatRequest = {
            "model": self.model,
            "messages": messages,
            "temperature": self.temperature,
            "max_tokens": max_tokens or self.max_tokens,
        }
        if self.seed is not None:
            request["seed"] = self.seed
        return request


@dataclass(frozen=True)
class TeacherQuestion:
    """A request that is to be sent."""

    record: Record
    attempt: int
    request: ChatRequest
    key: str
    question_sha256: str
    """Of the request without its limit."""


class RecordState(NamedTuple):
    """Where one record stands."""

    last_answer: TeacherAnswerRow | None
    reason: str | None
    """Why the last answer is not accepted by today's rules; None if it is, or there is none."""
    question: TeacherQuestion | None
    """What is to be asked next; None for a finished record."""


@dataclass
class Progress:
    """How far the records of a file are answered, and what is left to ask."""

    records: int = 0
    accepted: int = 0
    asked_again: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> records."""
    skipped: int = 0
    """Hindsight about weeks whose return is not known."""
    left: int = 0
    input_tokens: int = 0
    """About, of one request for each record that is left."""

    @property
    def answered(self) -> int:
        """Records that are not asked about any more."""
        return self.accepted + self.rejected.total()

    def add(self, state: RecordState) -> None:
        """Count a record that can be asked about."""
        answer, reason, question = state
        if answer and answer.get("attempt") == ATTEMPTS:
            self.asked_again += 1
        if question:
            self.left += 1
            self.input_tokens += estimate_tokens(question.request["messages"])
        elif answer and reason is None:
            self.accepted += 1
        elif answer:
            self.rejected[reason or "not accepted"] += 1


def next_question(record: Record, settings: RequestSettings, log: TeacherLog) -> RecordState:
    """The last answer to a record, and the question that is open now.

    What was accepted is never asked again, and what was rejected only if it was cut off at a lower
    limit than that of `settings`.
    """
    return _state_from(_Asking(record, settings, log), first_messages(record, settings.kind), 1)


class _Asking(NamedTuple):
    record: Record
    settings: RequestSettings
    log: TeacherLog

    @property
    def label(self) -> str | None:
        return self.record.label if self.settings.kind == "hindsight" else None


def _state_from(asking: _Asking, messages: list[Message], attempt: int) -> RecordState:
    """Where a record stands, if attempts before this one were not accepted."""
    settings, log = asking.settings, asking.log
    request = settings.request(messages)
    key, question_sha256 = digest(request), digest(_without_limit(request))
    older = digest(settings.request(messages, RequestSettings.max_tokens))
    rows = log.rows(question_sha256, (key, older))
    reasons = [judge_row(row, asking.label) for row in rows]
    for row, reason in zip(rows, reasons, strict=True):
        if reason is None:
            return RecordState(row, None, None)
    follow_ups: list[RecordState] = []
    if attempt < ATTEMPTS:
        for row, reason in zip(rows, reasons, strict=True):
            said = row["reason"] or reason or "not accepted"
            again = next_messages(messages, answer=row["answer"], reason=said)
            follow_ups.append(_state_from(asking, again, attempt + 1))
    for state in follow_ups:
        if state.last_answer and state.reason is None:
            return state
    was_short = bool(rows) and is_cut_off(reasons[-1]) and _limit(rows[-1]) < settings.max_tokens
    is_open = was_short and key not in [row["key"] for row in rows]
    if is_open or not rows:
        question = TeacherQuestion(asking.record, attempt, request, key, question_sha256)
        last = (rows[-1], reasons[-1]) if rows else (None, None)
        return RecordState(*last, question)
    if not follow_ups:
        return RecordState(rows[-1], reasons[-1], None)
    state = follow_ups[-1]
    if state.last_answer is None:
        return RecordState(rows[-1], reasons[-1], state.question)
    return state


def _without_limit(request: ChatRequest) -> dict[str, object]:
    return {name: value for name, value in request.items() if name != "max_tokens"}


def _limit(row: TeacherAnswerRow) -> int:
    """The limit of an answer; logs of older versions tell it only if it is the default."""
    return row.get("max_tokens", RequestSettings.max_tokens)


def count_progress(
    records: Iterable[Record], settings: RequestSettings, log: TeacherLog
) -> Progress:
    """How far `records` are answered.

    Raises ValueError naming a record whose values make no prompt.
    """
    progress = Progress()
    for record in records:
        progress.records += 1
        try:
            if can_be_asked(record, settings.kind):
                progress.add(next_question(record, settings, log))
            else:
                progress.skipped += 1
        except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise ValueError(f"record {record.id}: {error}") from None
    return progress


def can_be_asked(record: Record, kind: AnswerKind) -> bool:
    """False for hindsight about a week whose return is not known."""
    return kind == "forecast" or record.label is not None
