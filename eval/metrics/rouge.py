"""ROUGE of one section against its reference, counted the same way in the whole project."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from weekahead.schema.rows import RougeScores

PACKAGES = ("rouge_score_rs", "rouge_score")
"""Both give the same numbers to the last bit (a test compares them). The first one is written in
Rust, faster, and optional."""
KINDS = ("rouge1", "rouge2", "rougeL")
Rouge = Callable[[str, str], RougeScores]
"""(reference, generation) -> the F1 of each kind."""


NOT_TOKENIZED = "ROUGE's tokenizer keeps less than half of the letters, or loses whole words"
_KEPT = re.compile("[a-z]")
_WORD = re.compile(r"[^\W\d_]+")
_LOST_WORDS = 0.1
"""Share of words that may be lost whole: names in another script within an English text."""


def keeps_letters(text: str) -> bool:
    """Whether ROUGE's tokenizer, which knows a to z alone, keeps what a text says.

    That is half of its letters or more, and nine in ten of its words at least in part. What is left
    of other scripts is figures and tickers: two unrelated texts would share all of it.
    """
    if text.isascii():  # most texts are, and nothing is lost of them
        return True
    words = _WORD.findall(text.lower())
    letters = sum(map(len, words))
    kept = [len(word if word.isascii() else _KEPT.findall(word)) for word in words]
    return 2 * sum(kept) >= letters and kept.count(0) <= _LOST_WORDS * len(words)


def has_tokens(text: str) -> bool:
    """Whether ROUGE's tokenizer finds a word or a figure at all; of "***" it keeps nothing."""
    return re.search("[a-z0-9]", text.lower()) is not None


def section_rouge(reference: str, generation: str, package: str | None = None) -> RougeScores:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1 (0 to 1) of one section's text, with stemmer.

    A text without content scores 0.0: an absent section shares nothing with its reference.
    `package` is one of PACKAGES; by default the first one that is installed.
    """
    if not (reference.strip() and generation.strip()):
        return {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
    scores = _scorer(package or installed()[0]).score(reference, generation)
    return {
        "rouge1": float(scores["rouge1"].fmeasure),
        "rouge2": float(scores["rouge2"].fmeasure),
        "rougeL": float(scores["rougeL"].fmeasure),
    }


def mean_rouge(scores: Sequence[RougeScores]) -> RougeScores | None:
    """The mean F1 of each kind; None without any scores."""
    if not scores:
        return None
    n = len(scores)
    rouge1 = sum(score["rouge1"] for score in scores)
    rouge2 = sum(score["rouge2"] for score in scores)
    rouge_l = sum(score["rougeL"] for score in scores)
    return {"rouge1": rouge1 / n, "rouge2": rouge2 / n, "rougeL": rouge_l / n}


@cache
def installed() -> tuple[str, ...]:
    """Those of PACKAGES that can be imported, the fastest first."""
    return tuple(name for name in PACKAGES if find_spec(name))


@cache
def _scorer(package: str) -> Any:
    # Imported here because rouge_score imports nltk, which a reader of answers does not need.
    return import_module(f"{package}.rouge_scorer").RougeScorer(list(KINDS), use_stemmer=True)
