"""What the teacher is asked.

Two kinds of question, never mixed. `hindsight` names the true bin and asks the teacher to argue for
it: a training answer. `forecast` is the student's prompt to the letter: the teacher's own row in a
comparison.
"""

import hashlib
import json
from typing import Literal, get_args

from weekahead.schema.rows import Message
from weekahead.task.prompt import render_prompt
from weekahead.task.record import Record
from weekahead.task.thoughts import without_thought

TEACHING_VERSION = "t2"
"""Changes with every change of wording below or of what is accepted (judgement)."""

AnswerKind = Literal["hindsight", "forecast"]
KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)

_INSTRUCTION = """[To the author of a model answer]: the forecast to argue for is "{prediction}". \
From the facts above alone, write what a careful analyst could have written on that day who came \
to exactly this forecast. Weigh both sides honestly. Name no event after that day, do not say \
what the price then did, and do not let it be seen that the forecast was given to you. Keep \
exactly the layout above: in each of the first two sections items numbered 1., 2. and so on, one \
a line, and in the last one the line "Prediction: {prediction}" in these very words, then \
"Analysis: " and one paragraph. Write nothing before the first section and nothing after the \
analysis."""

_AGAIN = """This answer cannot be used ({reason}). Write the whole answer once more, without \
apology or comment, in exactly the layout asked for."""


def first_messages(record: Record, kind: AnswerKind) -> list[Message]:
    """The conversation that opens the question: the student's prompt.

    For hindsight its user message has one more paragraph, which names the bin. Raises ValueError
    for hindsight about a record whose return is unknown.
    """
    system, user = render_prompt(record)
    if kind == "forecast":
        return [system, user]
    if record.label is None:
        raise ValueError(
            f"record {record.id} has no weekly_return, so there is no bin to argue for"
        )
    instruction = _INSTRUCTION.format(prediction=record.label.capitalize())
    return [system, {**user, "content": f"{user['content']}\n\n{instruction}"}]


def next_messages(messages: list[Message], *, answer: str, reason: str) -> list[Message]:
    """The conversation that asks again after an answer that was not accepted, and says why.

    An answer without text adds to the last message, since many chat templates want the roles to
    alternate.
    """
    again = _AGAIN.format(reason=reason)
    if text := without_thought_and_space(answer):
        return [
            *messages,
            {"role": "assistant", "content": text},
            {"role": "user", "content": again},
        ]
    return [*messages[:-1], {**messages[-1], "content": f"{messages[-1]['content']}\n\n{again}"}]


def without_thought_and_space(answer: str) -> str:
    """An answer as a student may learn it: without <think> blocks and without outer white space."""
    return without_thought(answer)[0].strip()


def fingerprint(record: Record, kind: AnswerKind) -> str:
    """The SHA-256 of what an answer was given to: the student's prompt, for hindsight the bin.

    An answer belongs to a record while this stays the same, whatever model or wording asked for it.
    """
    label = record.label if kind == "hindsight" else None
    return digest({"prompt": render_prompt(record), "label": label})


def digest(value: object) -> str:
    """The SHA-256 in hex of a JSON value in canonical form: sorted names, no spaces, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
