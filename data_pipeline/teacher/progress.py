"""What is left to ask: the next question about a record, and the progress of a file."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from data_pipeline.teacher.answer_log import TeacherLog
from data_pipeline.teacher.costs import estimate_tokens
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

    def request(self, messages: list[Message]) -> ChatRequest:
        """A chat completion request."""
        request: ChatRequest = {
            "model": self.model,
            "messages": messages,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if self.seed is not None:
            request["seed"] = self.seed
        return request


@dataclass(frozen=True)
class TeacherQuestion:
    """A request that has no logged answer yet."""

    record: Record
    attempt: int
    request: ChatRequest
    key: str


class RecordState(NamedTuple):
    """Where one record stands."""

    last_answer: TeacherAnswerRow | None
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
        answer, question = state
        if answer and answer.get("attempt") == ATTEMPTS:
            self.asked_again += 1
        if question:
            self.left += 1
            self.input_tokens += estimate_tokens(question.request["messages"])
        elif answer and answer["accepted"]:
            self.accepted += 1
        elif answer:
            self.rejected[answer["reason"] or "not accepted"] += 1


def next_question(record: Record, settings: RequestSettings, log: TeacherLog) -> RecordState:
    """The last answer to a record, and the question that is open now."""
    messages, answer = first_messages(record, settings.kind), None
    for attempt in range(1, ATTEMPTS + 1):
        request = settings.request(messages)
        key = digest(request)
        logged = log.row(key)
        if logged is None:
            return RecordState(answer, TeacherQuestion(record, attempt, request, key))
        answer = logged
        if answer["accepted"]:
            break
        reason = answer["reason"] or "not accepted"
        messages = next_messages(messages, answer=answer["answer"], reason=reason)
    return RecordState(answer, None)


def count_progress(
    records: Iterable[Record], settings: RequestSettings, log: TeacherLog
) -> Progress:
    """How far `records` are answered.

    Raises ValueError naming a record that is there twice, or whose values make no prompt.
    """
    progress, ids = Progress(), set[str]()
    for record in records:
        if record.id in ids:
            raise ValueError(
                f"the record {record.id} is there twice; expected one per symbol and week"
            )
        ids.add(record.id)
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
