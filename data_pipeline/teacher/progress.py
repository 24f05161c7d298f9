"""What is left to ask: the question that is open for a record, and how far a file of records is answered."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from data_pipeline.teacher.answer_log import TeacherLog
from data_pipeline.teacher.costs import about_tokens
from data_pipeline.teacher.prompts import AnswerKind, digest, first_messages, next_messages
from weekahead.files import Row
from weekahead.task.prompt import Messages
from weekahead.task.record import Record

ATTEMPTS = 2
"""A record is asked, and once more where its first answer is not accepted."""


@dataclass(frozen=True)
class RequestSettings:
    """How every record is asked; all of it but the kind is part of each request and so of its key."""

    model: str
    kind: AnswerKind
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int | None = None

    def body(self, messages: Messages) -> Row:
        """A chat completion request."""
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        seed = {} if self.seed is None else {"seed": self.seed}
        return {"model": self.model, "messages": messages, **settings, **seed}


@dataclass(frozen=True)
class Question:
    """A request that has no logged answer yet."""

    record: Record
    attempt: int
    body: Row
    key: str


@dataclass
class Progress:
    """How far the records of a file are answered, and what is left to ask."""

    records: int = 0
    accepted: int = 0
    asked_again: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    """Hindsight about weeks whose return is not known."""
    left: int = 0
    input_tokens: int = 0
    """About, of one request for each record that is left."""


def next_question(
    record: Record, asking: RequestSettings, log: TeacherLog
) -> tuple[Row | None, Question | None]:
    """(the last answer to a record, the question that is open now); no question for a finished record."""
    messages, row = first_messages(record, asking.kind), None
    for attempt in range(1, ATTEMPTS + 1):
        body = asking.body(messages)
        key = digest(body)
        if (found := log.row(key)) is None:
            return row, Question(record, attempt, body, key)
        row = found
        if row["accepted"]:
            break
        messages = next_messages(messages, row["answer"], row["reason"])
    return row, None


def count_progress(records: Iterable[Record], asking: RequestSettings, log: TeacherLog) -> Progress:
    """Where records stand. Raises ValueError naming one that stands twice or whose values make no prompt."""
    found, ids = Progress(), set[str]()
    for record in records:
        if record.id in ids:
            raise ValueError(
                f"the record {record.id} stands twice; expected one for a symbol and week"
            )
        ids.add(record.id)
        try:
            _count(record, asking, log, found)
        except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise ValueError(f"record {record.id}: {error}") from None
    return found


def _count(record: Record, asking: RequestSettings, log: TeacherLog, found: Progress) -> None:
    found.records += 1
    if not can_be_asked(record, asking.kind):
        found.skipped += 1
        return
    row, question = next_question(record, asking, log)
    found.asked_again += bool(row and row["attempt"] == ATTEMPTS)
    if question:
        found.left += 1
        found.input_tokens += about_tokens(question.body["messages"])
    elif row and row["accepted"]:
        found.accepted += 1
    elif row:
        found.rejected[row["reason"]] += 1


def can_be_asked(record: Record, kind: AnswerKind) -> bool:
    """False for hindsight about a week whose return is not known."""
    return kind == "forecast" or record.label is not None
