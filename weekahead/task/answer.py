"""The three-section answer: one way to write it, a strict and a lenient way to read it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from weekahead.task.answer_sections import Section, find_sections, first_header, split_forecast
from weekahead.task.labels import BINS, check_label, direction_of, magnitude_of
from weekahead.task.prediction_line import read_prediction
from weekahead.task.prediction_reading import READING_FAILURES, kind_of_failure
from weekahead.task.thoughts import after_drafts, without_thought

HEADERS = ("[Positive Developments]:", "[Potential Concerns]:", "[Prediction & Analysis]:")


@dataclass(frozen=True)
class Answer:
    """One answer as read: its texts ("" if absent), what it predicts, and whether it is valid.

    `direction` is +1, -1, 0 (no move) or None (not read). `magnitude` is signed and in percent, and
    None if no figure is stated. `reason` says why an answer is not valid, in fixed words that can
    be counted.
    """

    positives: str = ""
    concerns: str = ""
    prediction: str = ""
    analysis: str = ""
    direction: int | None = None
    magnitude: float | None = None
    valid: bool = False
    reason: str | None = None


def parse_answer(text: str | None, *, strict: bool = False) -> Answer:
    """Read an answer, in time linear in its length. Does not raise, whatever `text` is.

    Strict: exactly the layout of `render_answer`, between optional white space; a line may end in
    spaces and a blank line may follow a header. Lenient: see `docs/evaluation.md`. An answer that
    is valid strictly is valid leniently and reads the same. Of several copies the first complete
    one counts.
    """
    if not isinstance(text, str):
        return Answer(reason=f"not a text but {type(text).__name__}")
    if not text.strip():
        return Answer(reason="empty answer")
    exact = _strict(text)
    return exact if strict or exact.valid else _lenient(text)


def render_answer(
    positives: Sequence[str], concerns: Sequence[str], label: str, analysis: str
) -> str:
    """The answer for one of the twelve labels, in the layout that `parse_answer` reads strictly.

    Each item and the analysis become one line. Raises ValueError for an unknown label, and for a
    part that is empty or contains a header, since such a text could not be read back.
    """
    prediction = check_label(label).capitalize()
    text = (
        f"{HEADERS[0]}\n{_numbered_lines(positives)}\n\n"
        f"{HEADERS[1]}\n{_numbered_lines(concerns)}\n\n"
        f"{HEADERS[2]}\nPrediction: {prediction}\nAnalysis: {_one_line(analysis)}"
    )
    reason = parse_answer(text, strict=True).reason
    if reason:
        raise ValueError(
            f"this answer could not be read back ({reason}); every part needs text and no header"
        )
    return text


def _numbered_lines(items: Sequence[str]) -> str:
    lines = (f"{number}. {_one_line(item)}" for number, item in enumerate(items, start=1))
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- strict ---------------------------------------------------------------------------------------

_PREDICTION = re.compile(
    r"Prediction: ((?:Up|Down) by (?:\d-\d%|more than 5%))[ \t\r]*\n(?:[ \t\r]*\n)?Analysis:"
)


def _strict(text: str) -> Answer:
    body = text.strip()
    fault = _header_fault(body)
    if fault:
        return Answer(reason=f"strict: {fault}")
    starts = [body.index(header) for header in HEADERS]
    ends = [*starts[1:], len(body)]
    positives, concerns, last = (
        body[start + len(header) : end].strip()
        for header, start, end in zip(HEADERS, starts, ends, strict=True)
    )
    if not (_is_numbered(positives) and _is_numbered(concerns)):
        return Answer(reason="strict: items not numbered 1, 2, ...")
    prediction = _PREDICTION.match(last)
    if not prediction or prediction[1].lower() not in BINS:
        return Answer(reason="strict: prediction not one of the twelve, or no analysis below it")
    analysis = last[prediction.end() :].strip()
    if not _has_words(analysis):
        return Answer(reason="strict: empty analysis")
    label = prediction[1].lower()
    return Answer(
        positives=positives,
        concerns=concerns,
        prediction=prediction[1],
        analysis=analysis,
        direction=direction_of(label),
        magnitude=magnitude_of(label),
        valid=True,
    )


def _header_fault(body: str) -> str | None:
    """Why the headers of `body` are not those of the layout; None if they are."""
    lines = [line.rstrip() for line in body.split("\n")]
    for header in HEADERS:
        if header not in body:
            return f"{header} missing"
        if body.count(header) != 1 or header not in lines:
            return f"{header} not once on a line of its own"
    starts = [body.index(header) for header in HEADERS]
    if starts != sorted(starts):
        return "sections out of order"
    return "text before the first section" if starts[0] else None


def _is_numbered(section: str) -> bool:
    """Whether each line is an item with words, numbered from 1."""
    lines = [line.strip() for line in section.split("\n") if line.strip()]
    return bool(lines) and all(
        line.startswith(f"{number}. ") and _has_words(line)
        for number, line in enumerate(lines, start=1)
    )


def _has_words(text: str) -> bool:
    """False for nothing and for placeholders such as "1. ..."."""
    return any(character.isalpha() for character in text)


# --- lenient --------------------------------------------------------------------------------------


def _lenient(text: str) -> Answer:
    outside, thought = without_thought(text)
    if thought is None:
        if not outside.strip():
            return Answer(reason="nothing but a <think> block")
        return _after_drafts(outside) or _best_block(outside)
    # A model that never closes its thought may still have answered, before it or in it.
    answer = _best_block(outside)
    if not _is_complete(answer):
        answer = _best_block(thought)
    if _is_complete(answer):
        return answer
    return replace(answer, reason="unclosed <think> without an answer")


def _after_drafts(text: str) -> Answer | None:
    """The answer behind a pair of unknown tags; None if no whole one is there."""
    rest = after_drafts(text, first_header(text))
    if rest is None:
        return None
    answer = _best_block(rest)
    return answer if _is_complete(answer) else None


def _best_block(text: str) -> Answer:
    sections = find_sections(text)
    answers = [_answer(*block) for block in _blocks(sections)]
    complete = [answer for answer in answers if _is_complete(answer)]
    # A copy of placeholders, or without an analysis, is a false start if a complete one follows.
    explained = [answer for answer in complete if _has_words(answer.analysis)]
    candidates = explained or complete or answers
    return candidates[0] if candidates else _without_block(sections)


def _is_complete(answer: Answer) -> bool:
    """Whether no part is missing, whether or not the words of the prediction could be read."""
    return answer.valid or kind_of_failure(answer.reason) in READING_FAILURES


def _blocks(sections: list[Section]) -> Iterator[tuple[str, str, str]]:
    """Each run of the three sections in order; of a section repeated at once the last counts."""
    positives = concerns = None
    previous = None
    for kind, text in sections:
        if kind == 0:
            positives, concerns = text, None
        elif kind == 1:
            positives = None if previous == 2 else positives
            concerns = text if positives is not None else None
        elif positives is not None and concerns is not None:
            yield positives, concerns, text
        previous = kind


def _without_block(sections: list[Section]) -> Answer:
    first_texts = dict(reversed(sections))
    missing = [HEADERS[kind] for kind in range(3) if kind not in first_texts]
    return Answer(
        positives=first_texts.get(0, ""),
        concerns=first_texts.get(1, ""),
        analysis=first_texts.get(2, ""),
        reason=f"no {missing[0][:-1]} section" if missing else "sections out of order",
    )


def _answer(positives: str, concerns: str, last: str) -> Answer:
    prediction, analysis = split_forecast(last)
    answer = Answer(positives, concerns, prediction or "", analysis)
    for header, section in zip(HEADERS, (positives, concerns), strict=False):
        if not _has_words(section):
            return replace(answer, reason=f"empty {header[:-1]} section")
    if prediction is None:
        return replace(answer, reason="no Prediction line")
    if not any(character.isalnum() for character in prediction):
        return replace(answer, reason="empty Prediction line")
    reading = read_prediction(prediction)
    return replace(
        answer,
        direction=reading.direction,
        magnitude=reading.magnitude,
        valid=reading.direction is not None,
        reason=reading.reason,
    )
