"""ROUGE of one section against its reference, the same way wherever the suite counts it."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

KINDS = ("rouge1", "rouge2", "rougeL")
PACKAGES = ("rouge_score_rs", "rouge_score")
"""The same numbers to the last bit (a test compares them); the first is in Rust, faster, and optional."""


def section_rouge(reference: str, generation: str, package: str | None = None) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1 (0 to 1) of one section's text, stemmer on, as upstream counts them.

    A text without content scores 0.0: an absent section shares nothing with its reference. `package` is one
    of PACKAGES; the first one that is installed if left out.
    """
    if not (reference.strip() and generation.strip()):
        return dict.fromkeys(KINDS, 0.0)
    scores = _scorer(package or installed()[0]).score(reference, generation)
    return {kind: float(scores[kind].fmeasure) for kind in KINDS}


@cache
def installed() -> tuple[str, ...]:
    """Those of PACKAGES that can be imported, the fastest first."""
    return tuple(name for name in PACKAGES if find_spec(name))


@cache
def _scorer(package: str) -> Any:
    # Imported here because rouge_score pulls in nltk, which nobody needs who only parses answers.
    return import_module(f"{package}.rouge_scorer").RougeScorer(list(KINDS), use_stemmer=True)
