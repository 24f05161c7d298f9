"""The three-section answer: written in one way, read in a strict and a lenient way."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from weekahead.task.answer_sections import Section, find_sections, split_forecast, without_thought
from weekahead.task.labels import BINS, check_label, direction_of, magnitude_of
from weekahead.task.prediction_line import READING_FAILURES, read_prediction

HEADERS = ("[Positive Developments]:", "[Potential Concerns]:", "[Prediction & Analysis]:")


@dataclass(frozen=True)
class Answer:
    """One answer as read: its texts ("" where absent), what it predicts, and whether it is valid.

    `direction` is +1, -1, 0 (no move) or None (not read); `magnitude` is signed and in percent, None
    without a figure. `reason` says in fixed words why an answer is not valid, fit for counting.
    """

    positives: str = ""
    concerns: str = ""
    prediction: str = ""
    analysis: str = ""
    direction: int | None = None
    magnitude: float | None = None
    valid: bool = False
    reason: str | None = None


def parse_answer(text: str, strict: bool = False) -> Answer:
    """Read an answer; never raises, whatever the text is, and is linear in its length.

    Strict: exactly the layout of `render_answer`, after optional white space; a line may end in spaces and
    a blank line may follow a header. Lenient: see `docs/evaluation.md`; every strict-valid answer is
    lenient-valid and reads the same. Of several copies the first complete one counts.
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

    Items and analysis are set on one line each. Raises ValueError for an unknown label, and for a part
    that is empty or holds a header, since such a text could not be read back.
    """
    listed = [
        "\n".join(f"{i}. {_one_line(item)}" for i, item in enumerate(p, 1))
        for p in (positives, concerns)
    ]
    call = check_label(label).capitalize()
    text = (
        f"{HEADERS[0]}\n{listed[0]}\n\n{HEADERS[1]}\n{listed[1]}\n\n"
        f"{HEADERS[2]}\nPrediction: {call}\nAnalysis: {_one_line(analysis)}"
    )
    reason = parse_answer(text, strict=True).reason
    if reason:
        raise ValueError(
            f"this answer could not be read back ({reason}); every part needs text and no header"
        )
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- strict -----------------------------------------------------------------------------------------

_CALL = re.compile(
    r"Prediction: ((?:Up|Down) by (?:\d-\d%|more than 5%))[ \t\r]*\n(?:[ \t\r]*\n)?Analysis:"
)


def _strict(text: str) -> Answer:
    body = text.strip()
    lines = [line.rstrip() for line in body.split("\n")]
    for header in HEADERS:
        if body.count(header) != 1 or header not in lines:
            stands = "missing" if header not in body else "not once on a line of its own"
            return Answer(reason=f"strict: {header} {stands}")
    places = [body.index(header) for header in HEADERS]
    if places != sorted(places):
        return Answer(reason="strict: sections out of order")
    if places[0]:
        return Answer(reason="strict: text before the first section")
    ends = [*places[1:], len(body)]
    positives, concerns, last = (
        body[at + len(header) : end].strip()
        for at, header, end in zip(places, HEADERS, ends, strict=True)
    )
    if not (_numbered(positives) and _numbered(concerns)):
        return Answer(reason="strict: items not numbered 1, 2, ...")
    call = _CALL.match(last)
    if not call or call[1].lower() not in BINS:
        return Answer(reason="strict: prediction not one of the twelve, or no analysis below it")
    analysis = last[call.end() :].strip()
    if not _has_words(analysis):
        return Answer(reason="strict: empty analysis")
    label = call[1].lower()
    return Answer(
        positives, concerns, call[1], analysis, direction_of(label), magnitude_of(label), valid=True
    )


def _numbered(section: str) -> bool:
    """True for items numbered from 1, one a line, each with words."""
    lines = [line.strip() for line in section.split("\n") if line.strip()]
    return bool(lines) and all(
        line.startswith(f"{i}. ") and _has_words(line) for i, line in enumerate(lines, start=1)
    )


def _has_words(text: str) -> bool:
    """False for nothing and for placeholders such as "1. ..."."""
    return any(character.isalpha() for character in text)


# --- lenient ----------------------------------------------------------------------------------------


def _lenient(text: str) -> Answer:
    outside, thought = without_thought(text)
    if thought is None:
        return (
            _best_block(outside)
            if outside.strip()
            else Answer(reason="nothing but a <think> block")
        )
    for part in (outside, thought):
        answer = _best_block(part)
        if _is_complete(answer):
            return answer
    return replace(answer, reason="unclosed <think> without an answer")


def _best_block(text: str) -> Answer:
    sections = find_sections(text)
    answers = [_answer(*block) for block in _blocks(sections)]
    # A copy of placeholders or without an analysis is a false start where a complete one follows.
    complete = [answer for answer in answers if _is_complete(answer)]
    best = next((answer for answer in complete if _has_words(answer.analysis)), None)
    return best or (complete or answers or [_without_block(sections)])[0]


def _is_complete(answer: Answer) -> bool:
    """True where every part stands, whether or not the prediction's wording could be read."""
    return answer.valid or answer.reason in READING_FAILURES


def _blocks(sections: list[Section]) -> Iterator[tuple[str, str, str]]:
    """Each run of the three sections in order; of a header that is repeated at once the last one counts."""
    positives = concerns = None
    last = None
    for kind, text in sections:
        if kind == 0:
            positives, concerns = text, None
        elif kind == 1:
            positives = None if last == 2 else positives
            concerns = text if positives is not None else None
        elif positives is not None and concerns is not None:
            yield positives, concerns, text
        last = kind


def _without_block(sections: list[Section]) -> Answer:
    found = dict(reversed(sections))
    missing = [HEADERS[kind] for kind in range(3) if kind not in found]
    reason = f"no {missing[0][:-1]} section" if missing else "sections out of order"
    return Answer(found.get(0, ""), found.get(1, ""), analysis=found.get(2, ""), reason=reason)


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
