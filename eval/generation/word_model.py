"""A logistic regression on the words of prompts: its fit, and what it gives to the twelve bins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median_low
from typing import Any

from data_pipeline.dataset.load import TrainData
from weekahead.schema.rows import DatasetRow, user_text
from weekahead.task.labels import BINS, direction_of

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""The values of C that are tried: the inverse of the strength of the L2 penalty."""
UNCHOSEN = 1.0
"""C if there is nothing to choose on: scikit-learn's own default."""
WORDS = {
    "ngram_range": (1, 2),
    "min_df": 2,
    "sublinear_tf": True,
    "token_pattern": r"(?u)\b[^\W\d_]{2,}\b",
}
"""Settings of the vectorizer: words and pairs of words that stand in two training prompts or more.

Numbers are not words: no date or price comes twice.
"""
_SMALLEST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class Fitted:
    """A fitted model and how its regularization was chosen."""

    vectorizer: Any
    model: Any
    """The logistic regression; its second class is up."""
    strength: float
    """C."""
    losses: dict[float, float]
    """C -> log loss per validation row, in nats; empty if there was nothing to choose on."""

    def up(self, rows: Sequence[DatasetRow]) -> list[float]:
        """The probability of a rise for each row, kept off 0 and 1 so that it has a logarithm."""
        features = self.vectorizer.transform(map(_prompt, rows))
        probabilities = self.model.predict_proba(features)[:, 1].tolist()
        return [
            min(max(probability, _SMALLEST_PROBABILITY), 1 - _SMALLEST_PROBABILITY)
            for probability in probabilities
        ]


def fit(data: TrainData) -> Fitted:
    """Fit on the train rows, with the C that does best on the validation rows.

    Of equal ones the strongest penalty is taken. Raises ValueError if the training labels are all
    up or all down: there is nothing to tell apart.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    directions = [direction_of(row["label"]) for row in data.train]
    if len(set(directions)) < 2:
        word = "up" if directions[0] > 0 else "down"
        raise ValueError(
            f"{data.source}: all {len(directions)} training rows are {word}; expected both "
            "directions"
        )
    vectorizer = TfidfVectorizer(**WORDS)
    features = vectorizer.fit_transform(map(_prompt, data.train))
    candidates: list[Fitted] = []
    for strength in STRENGTHS if data.validation else (UNCHOSEN,):
        model = LogisticRegression(C=strength, max_iter=1000).fit(features, directions)
        candidates.append(Fitted(vectorizer, model, strength, {}))
    if not data.validation:
        return candidates[0]
    losses = {fitted.strength: log_loss(fitted, data.validation) for fitted in candidates}
    best = min(candidates, key=lambda fitted: losses[fitted.strength])
    return replace(best, losses=losses)


def log_loss(fitted: Fitted, rows: Sequence[DatasetRow]) -> float:
    """The mean of -log of the probability of what came true, in nats; a coin has 0.693."""
    pairs = zip(fitted.up(rows), rows, strict=True)
    return -fmean(math.log(up if direction_of(row["label"]) > 0 else 1 - up) for up, row in pairs)


def _prompt(row: DatasetRow) -> str:
    return user_text(row["prompt"])


def bin_shares(labels: Sequence[str]) -> dict[str, float]:
    """The share of each bin among the labels of its direction, one added to every count (Laplace).

    Without that, a bin that training never saw would get a probability of 0.
    """
    counts = {label: 1 + labels.count(label) for label in BINS}
    totals = {-1: 0, 1: 0}
    for label, count in counts.items():
        totals[direction_of(label)] += count
    return {label: count / totals[direction_of(label)] for label, count in counts.items()}


def stated_bins(labels: Sequence[str]) -> dict[int, str]:
    """Direction -> the bin that an answer states for it.

    It is the median bin of the training labels of that direction, the lower of two.
    """
    bins: dict[int, str] = {}
    for direction in (-1, 1):
        indices = [BINS.index(label) for label in labels if direction_of(label) == direction]
        bins[direction] = BINS[median_low(indices)]
    return bins


def bin_probabilities(up: float, shares: Mapping[str, float]) -> dict[str, float]:
    """The probability of each bin, from that of a rise and `bin_shares`.

    It is that of the bin's direction times the bin's share among the training labels of that
    direction.
    """
    of_direction = {1: up, -1: 1 - up}
    return {label: share * of_direction[direction_of(label)] for label, share in shares.items()}
