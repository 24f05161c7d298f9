"""The public benchmark's own scoring (FinGPT Forecaster), quirks included, for `fingpt_compatible` alone.

Written from a description of its behaviour, so that our numbers can stand beside published ones. Each quirk
is wrong on purpose and has a test by name; `weekahead.task.answer` is what the suite itself reads answers with.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics.rouge import KINDS, section_rouge

Rouge = Callable[[str, str], dict[str, float]]
"""Reference and generation to rouge1, rouge2 and rougeL F1."""

_OPENING = "[Positive Developments]:"
_SECOND = "[Potential Concerns]:"
_LAST = ("[Prediction & Analysis]:", "[Prediction and Analysis]:")


@dataclass(frozen=True)
class Parsed:
    """One text as the benchmark reads it; `prediction` is its signed percentage, 0 where it finds none."""

    positives: str
    concerns: str
    analysis: str
    direction: int
    prediction: float


def parse(text: str) -> Parsed | None:
    """Read `text` as the benchmark does, or None where it finds no answer.

    The exact headers in order, the first at the start; everything is greedy, so of repeated headers the
    last possible one counts and the copies before it stay in the section before.
    """
    body = text.lstrip()
    last, last_end = max((body.rfind(header), body.rfind(header) + len(header)) for header in _LAST)
    second = body.rfind(_SECOND, len(_OPENING), max(last, 0))
    if not body.startswith(_OPENING) or last < 0 or second < 0:
        return None
    forecast = body[last_end:].lstrip()
    analysis = forecast.rfind("Analysis:")
    if not forecast.startswith("Prediction:") or analysis < 0:
        return None
    prediction = forecast[len("Prediction:") : analysis].lstrip()
    direction = _direction(prediction)
    return Parsed(
        positives=body[len(_OPENING) : second].lstrip(),
        concerns=body[second + len(_SECOND) : last].lstrip(),
        analysis=forecast[analysis + len("Analysis:") :].lstrip(),
        direction=direction,
        prediction=direction * _margin(prediction),
    )


def _direction(prediction: str) -> int:
    """By substring, up before down: "upcoming" and "support" are up."""
    words = prediction.lower()
    if any(word in words for word in ("up", "increase")):
        return 1
    return -1 if any(word in words for word in ("down", "decrease", "decline")) else 0


def _margin(prediction: str) -> float:
    """One digit, hyphen, digit, %: the first digit; else the last digit of a whole number; each plus 0.5."""
    figure = re.search(r"(\d)-\d%", prediction) or re.search(r"(\d)%", prediction)
    return int(figure[1]) + 0.5 if figure else 0.0


def fingpt_metrics(
    generations: Sequence[str], references: Sequence[str], rouge: Rouge | None = None
) -> dict[str, Any]:
    """`valid_count`, `bin_acc`, `mse` and three ROUGE tables over the pairs of which both texts parse.

    There is no total in it: answers that do not parse fall out of every average. Without any pair the
    count is 0 and all else None. `rouge` scores (reference, generation); `section_rouge` if left out.
    Raises ValueError when the two lists differ in length.
    """
    if len(generations) != len(references):
        raise ValueError(
            f"{len(generations)} generations for {len(references)} references; each needs its own"
        )
    both = [
        (parse(generation), parse(reference))
        for generation, reference in zip(generations, references, strict=True)
    ]
    pairs = [(answer, truth) for answer, truth in both if answer and truth]
    return {
        "valid_count": len(pairs),
        "bin_acc": _mean([float(answer.direction == truth.direction) for answer, truth in pairs]),
        "mse": _mean([(answer.prediction - truth.prediction) ** 2 for answer, truth in pairs]),
        "pros_rouge_scores": _rouge(
            [(t.positives, a.positives) for a, t in pairs], rouge or section_rouge
        ),
        "cons_rouge_scores": _rouge(
            [(t.concerns, a.concerns) for a, t in pairs], rouge or section_rouge
        ),
        "anal_rouge_scores": _rouge(
            [(t.analysis, a.analysis) for a, t in pairs], rouge or section_rouge
        ),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rouge(texts: Sequence[tuple[str, str]], rouge: Rouge) -> dict[str, float] | None:
    """Mean F1 of each kind over (reference, generation) pairs; None without a pair."""
    scores = [rouge(reference, generation) for reference, generation in texts]
    return (
        {kind: sum(score[kind] for score in scores) / len(scores) for kind in KINDS}
        if scores
        else None
    )
