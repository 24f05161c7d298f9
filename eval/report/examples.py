"""Ten answers to read, the same rows for every run, chosen by a rule that nobody can bend."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import zip_longest

from eval.metrics.text_quality import prompt_text
from eval.report.runs import EvaluatedRun, outcome, row_groups, row_keys
from weekahead.files import Row
from weekahead.task.labels import label_of_magnitude

COUNT = 10
MAX_CHARACTERS = 4000
"""What the page prints of one text; a base model may repeat itself for thousands of words."""
Piece = tuple[str, bool]
"""A stretch of the text, and whether its words are its own."""
_WORD = re.compile(r"\s*\S+")
_MOST_WORDS = 1500
"""Of either text; a base model may repeat itself, and the comparison's time grows with the square."""


@dataclass(frozen=True)
class RunAnswer:
    """What one run answered: its text as it came, what was read from it and how that came out."""

    run: str
    text: str
    prediction: str
    outcome: str
    reason: str | None
    pieces: tuple[Piece, ...] = ()
    """The text again; marked is what the first run did not write."""


@dataclass(frozen=True)
class Example:
    """One row with its truth, its prompt (empty where no file has it), its reference and the runs' replies."""

    key: str
    truth: str
    prompt: str
    reference: str
    replies: tuple[RunAnswer, ...]


def choose(runs: Sequence[EvaluatedRun], count: int = COUNT) -> list[Example]:
    """Up to `count` examples of the rows that all runs share; else as many of each group on the same rows.

    Rows are put in boxes by how they came out in each run, ordered within a box by the SHA-256 of
    their key, and taken from the boxes in turn: every mixture of right, wrong and unreadable is seen,
    and the choice is the same on every machine. Runs without generations.jsonl are passed over.
    """
    readable = [run for run in runs if run.generations and run.scored and row_keys(run)]
    if not readable:
        return []
    places = [{key: i for i, key in enumerate(row_keys(run) or [])} for run in readable]
    common = set(places[0]).intersection(*places[1:])
    if not common:
        return [example for group in row_groups(readable) for example in choose(group, count)]
    boxes: dict[tuple[str, ...], list[str]] = {}
    for key in sorted(common, key=_hash):
        pattern = tuple(
            outcome(run.scored[at[key]]) for run, at in zip(readable, places, strict=True)
        )
        boxes.setdefault(pattern, []).append(key)
    turns = zip_longest(*(boxes[pattern] for pattern in sorted(boxes)))
    chosen = [key for turn in turns for key in turn if key is not None][:count]
    return [_example(key, readable, [at[key] for at in places]) for key in sorted(chosen)]


def _example(key: str, runs: Sequence[EvaluatedRun], places: Sequence[int]) -> Example:
    row = runs[0].generations[places[0]]
    truth = runs[0].scored[places[0]]
    replies = [
        _reply(run, run.generations[i], run.scored[i]) for run, i in zip(runs, places, strict=True)
    ]
    first = replies[0].text
    replies = [replace(one, pieces=tuple(mark_differences(one.text, first))) for one in replies]
    label = str(row.get("label") or prediction_text(truth, "truth_"))
    prompt = clean(prompt_text(row.get("prompt") or ""), limit=None)
    return Example(key, label, prompt, clean(row.get("answer")), tuple(replies))


def _reply(run: EvaluatedRun, row: Row, scored: Row) -> RunAnswer:
    return RunAnswer(
        run.name,
        clean(row.get("generation")),
        prediction_text(scored),
        outcome(scored),
        scored.get("reason"),
    )


def prediction_text(scored: Row, prefix: str = "") -> str:
    """A call in words: its bin, "up" or "down" where no size was read, "neutral", or "unreadable"."""
    direction, magnitude = scored.get(f"{prefix}direction"), scored.get(f"{prefix}magnitude")
    if direction is None:
        return "unknown" if prefix else "unreadable"
    if direction == 0:
        return "neutral"
    return label_of_magnitude(magnitude) if magnitude else ("up" if direction > 0 else "down")


def clean(text: str | None, limit: int | None = MAX_CHARACTERS) -> str:
    """A model's text made safe to print: control characters and lone surrogates become U+FFFD.

    Line ends and tabs stay. Direction marks (category Cf) go too: they would turn the line around.
    Beyond `limit` characters it is cut, and says so.
    """
    text = (text or "").strip()
    shown = "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cf") else "\ufffd"
        for c in text
    )
    if limit is None or len(shown) <= limit:
        return shown
    return (
        f"{shown[:limit]}\n[cut here for the page: {len(shown):,} characters in generations.jsonl]"
    )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def mark_differences(text: str, against: str) -> list[Piece]:
    """The pieces of `text` in their order; joined they are `text` again.

    Words are compared without case and outer punctuation. Nothing is marked where `against` is empty, or where
    one of the two is longer than 1,500 words.
    """
    words, others = _WORD.findall(text), _WORD.findall(against)
    if not others or max(len(words), len(others)) > _MOST_WORDS:
        return [(text, False)] if text else []
    matcher = SequenceMatcher(None, [*map(_bare, words)], [*map(_bare, others)], autojunk=False)
    pieces = [
        ("".join(words[first:last]), kind != "equal")
        for kind, first, last, _, _ in matcher.get_opcodes()
    ]
    end = text[sum(map(len, words)) :]
    return [*(piece for piece in pieces if piece[0]), *([(end, False)] if end else [])]


def _bare(word: str) -> str:
    return word.strip().strip(".,;:!?()[]\"'*").lower()
