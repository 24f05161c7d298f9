"""Ten answers to read: the same rows for every run, chosen by a rule that nobody can influence."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from eval.metrics.text_quality import prompt_text
from eval.report.rows import outcome, row_groups
from eval.report.runs import EvaluatedRun
from weekahead.schema.rows import ScoredRow
from weekahead.task.labels import label_of_magnitude
from weekahead.visible import visible

COUNT = 10
MAX_CHARACTERS = 4000
"""What the page prints of one text; a base model may repeat itself for thousands of words."""
MAX_COMPARED_WORDS = 1500
"""Of either text: the time of the comparison grows with the square."""
_WORD = re.compile(r"\s*\S+")
Piece = tuple[str, bool]
"""A part of a text, and whether it differs from the other text."""


@dataclass(frozen=True)
class RunAnswer:
    """What one run answered, what was read from it, and how that came out."""

    run: str
    text: str
    prediction: str
    outcome: str
    reason: str | None
    pieces: tuple[Piece, ...] = ()
    """The text again; marked is what the first run did not write, if its answer could be read."""


@dataclass(frozen=True)
class Example:
    """One row with its truth and the answers of the runs."""

    key: str
    truth: str
    prompt: str
    """Empty if no file has it."""
    reference: str
    answers: tuple[RunAnswer, ...]


@dataclass(frozen=True)
class _IndexedRun:
    """A run and the position of each row, by key."""

    run: EvaluatedRun
    index_of: dict[str, int]

    def outcome(self, key: str) -> str:
        return outcome(self.run.scored[self.index_of[key]])


def choose_examples(runs: Sequence[EvaluatedRun], count: int = COUNT) -> list[Example]:
    """Up to `count` examples of the rows that all runs share; else as many of each group of runs.

    Rows are sorted into boxes by how they came out in each run, ordered within a box by the SHA-256
    of their key, and taken from the boxes in turn. So every mixture of right, wrong and unreadable
    is seen, and the choice is the same on every machine. Runs without generations.jsonl are left
    out.
    """
    indexed: list[_IndexedRun] = []
    for run in runs:
        keys = run.keys
        if run.generations and run.scored and keys:
            indexed.append(_IndexedRun(run, {key: index for index, key in enumerate(keys)}))
    if not indexed:
        return []
    shared = set(indexed[0].index_of).intersection(*(run.index_of for run in indexed[1:]))
    if not shared:
        groups = row_groups([indexed_run.run for indexed_run in indexed])
        return [example for group in groups for example in choose_examples(group, count)]
    boxes: dict[tuple[str, ...], list[str]] = {}
    for key in sorted(shared, key=_hash):
        outcomes = tuple(indexed_run.outcome(key) for indexed_run in indexed)
        boxes.setdefault(outcomes, []).append(key)
    rounds = zip_longest(*(boxes[outcomes] for outcomes in sorted(boxes)))
    chosen = [key for keys in rounds for key in keys if key is not None][:count]
    return [_example(key, indexed) for key in sorted(chosen)]


def _example(key: str, runs: Sequence[_IndexedRun]) -> Example:
    first, index = runs[0].run, runs[0].index_of[key]
    row, scored = first.generations[index], first.scored[index]
    # Beside a text that is no answer everything would be marked.
    first_text = clean(row["generation"]) if scored["valid_lenient"] else ""
    truth = prediction_text(scored["truth_direction"], scored["truth_magnitude"]) or "unknown"
    return Example(
        key=key,
        truth=str(row.get("label") or truth),
        prompt=clean(prompt_text(row.get("prompt") or ""), limit=None),
        reference=clean(row["answer"]),
        answers=tuple(_answer(indexed_run, key, first_text) for indexed_run in runs),
    )


def _answer(indexed: _IndexedRun, key: str, first_text: str) -> RunAnswer:
    index = indexed.index_of[key]
    scored: ScoredRow = indexed.run.scored[index]
    text = clean(indexed.run.generations[index]["generation"])
    prediction = prediction_text(scored["direction"], scored["magnitude"]) or "unreadable"
    return RunAnswer(
        run=indexed.run.name,
        text=text,
        prediction=prediction,
        outcome=outcome(scored),
        reason=scored["reason"],
        pieces=tuple(mark_differences(text, first_text)),
    )


def prediction_text(direction: int | None, magnitude: float | None) -> str | None:
    """A prediction as its bin, "up" or "down" without a size, or "neutral"; None without
    direction."""
    if direction is None:
        return None
    if direction == 0:
        return "neutral"
    if magnitude:
        return label_of_magnitude(magnitude)
    return "up" if direction > 0 else "down"


def clean(text: str | None, limit: int | None = MAX_CHARACTERS) -> str:
    """A model's text made safe to print: unprintable characters become U+FFFD.

    Line ends and tabs stay. A text longer than `limit` characters is cut, with a note.
    """
    shown = visible((text or "").strip())
    if limit is None or len(shown) <= limit:
        return shown
    note = f"[cut here for the page: {len(shown):,} characters in generations.jsonl]"
    return f"{shown[:limit]}\n{note}"


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def mark_differences(text: str, other: str) -> list[Piece]:
    """The pieces of `text` in their order; joined they are `text` again.

    Words are compared without case and outer punctuation. Nothing is marked if `other` is empty, or
    if one of the two is longer than MAX_COMPARED_WORDS.
    """
    words, other_words = _WORD.findall(text), _WORD.findall(other)
    if not other_words or max(len(words), len(other_words)) > MAX_COMPARED_WORDS:
        return [(text, False)] if text else []
    bare, other_bare = [*map(_bare, words)], [*map(_bare, other_words)]
    matcher = SequenceMatcher(None, bare, other_bare, autojunk=False)
    pieces: list[Piece] = []
    for operation, first, last, _, _ in matcher.get_opcodes():
        piece = "".join(words[first:last])
        if piece:
            pieces.append((piece, operation != "equal"))
    white_space_at_end = text[sum(map(len, words)) :]
    if white_space_at_end:
        pieces.append((white_space_at_end, False))
    return pieces


def _bare(word: str) -> str:
    return word.strip().strip(".,;:!?()[]\"'*").lower()
