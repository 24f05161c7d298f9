"""ROUGE of one section against its reference, the same way wherever the suite counts it."""

from functools import cache
from typing import Any

KINDS = ("rouge1", "rouge2", "rougeL")


def section_rouge(reference: str, generation: str) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1 (0 to 1) of one section's text, stemmer on, as upstream counts them.

    A text without content scores 0.0: an absent section shares nothing with its reference.
    """
    if not (reference.strip() and generation.strip()):
        return dict.fromkeys(KINDS, 0.0)
    scores = _scorer().score(reference, generation)
    return {kind: float(scores[kind].fmeasure) for kind in KINDS}


@cache
def _scorer() -> Any:
    # Imported here because it pulls in nltk, which nobody needs who only parses answers.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(KINDS), use_stemmer=True)
