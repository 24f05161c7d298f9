"""The public benchmark's own scoring (FinGPT Forecaster), quirks included, for `fingpt_compatible`.

Written from a description of its behaviour, so that our numbers can stand beside published ones.
Each quirk is wrong on purpose and has a test by name. Everything else is scored from what
`weekahead.task.answer` reads.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics.rouge import Rouge, mean_rouge, section_rouge
from eval.metrics.statistics import mean
from weekahead.schema.metrics import FingptMetrics

_OPENING = "[Positive Developments]:"
_SECOND = "[Potential Concerns]:"
_LAST = ("[Prediction & Analysis]:", "[Prediction and Analysis]:")


@dataclass(frozen=True)
class Parsed:
    """One text as the benchmark reads it."""

    positives: str
    concerns: str
    analysis: str
    direction: int
    prediction: float
    """Signed, in percent; 0 if the benchmark finds no size."""


def parse_upstream(text: str) -> Parsed | None:
    """Read `text` as the benchmark does; None if it finds no answer.

    The exact headers must come in order, the first at the start. Everything is greedy: of repeated
    headers the last possible one counts, and the copies before it stay in the section before.
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
    text = prediction.lower()
    if any(word in text for word in ("up", "increase")):
        return 1
    return -1 if any(word in text for word in ("down", "decrease", "decline")) else 0


def _margin(prediction: str) -> float:
    """The first digit of "<digit>-<digit>%", else the last digit of "<number>%"; each plus 0.5."""
    figure = re.search(r"(\d)-\d%", prediction) or re.search(r"(\d)%", prediction)
    return int(figure[1]) + 0.5 if figure else 0.0


def fingpt_metrics(
    *, generations: Sequence[str], references: Sequence[str], rouge: Rouge = section_rouge
) -> FingptMetrics:
    """The benchmark's metrics, over the pairs of which both texts parse.

    They have no total: answers that do not parse are left out of every mean. Without any pair the
    count is 0 and everything else None. `rouge` scores (reference, generation). Raises ValueError
    if the two lists differ in length.
    """
    if len(generations) != len(references):
        raise ValueError(
            f"{len(generations)} generations for {len(references)} references; each needs its own"
        )
    pairs: list[tuple[Parsed, Parsed]] = []
    for generation, reference in zip(generations, references, strict=True):
        answer, truth = parse_upstream(generation), parse_upstream(reference)
        if answer and truth:
            pairs.append((answer, truth))
    hits = [float(answer.direction == truth.direction) for answer, truth in pairs]
    errors = [(answer.prediction - truth.prediction) ** 2 for answer, truth in pairs]
    positives = [rouge(truth.positives, answer.positives) for answer, truth in pairs]
    concerns = [rouge(truth.concerns, answer.concerns) for answer, truth in pairs]
    analyses = [rouge(truth.analysis, answer.analysis) for answer, truth in pairs]
    return {
        "valid_count": len(pairs),
        "bin_acc": mean(hits),
        "mse": mean(errors),
        "pros_rouge_scores": mean_rouge(positives),
        "cons_rouge_scores": mean_rouge(concerns),
        "anal_rouge_scores": mean_rouge(analyses),
    }
