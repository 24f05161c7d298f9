"""Forecasts of bins that know how often each came in training, and nothing about the row.

An exact bin of twelve or a small distance impresses only beside them: most weeks move little.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from eval.metrics.baselines import Prediction
from eval.metrics.probability_scores import expected_distance, rps
from eval.metrics.scored_answer import bin_of
from eval.metrics.statistics import mean, paired_difference
from weekahead.schema.metrics import BinBaseline, BinBaselines, BinMetrics, Difference
from weekahead.task.labels import BINS

NO_TRAIN_LABELS = (
    "the bins of the training rows are not known: no train_labels in manifest.json beside the "
    "answers (eval.generate writes it), and no --train_data"
)


def train_shares(labels: Mapping[str, int]) -> dict[str, float]:
    """Bin -> its share of the training rows; `labels` is bin -> rows, a bin without rows may lack.

    Raises ValueError for an unknown bin, a negative count, and labels without rows.
    """
    unknown = [label for label in labels if label not in BINS]
    total = sum(labels.values())
    if unknown or total < 1 or min(labels.values()) < 0:
        raise ValueError(
            f"train_labels is {dict(labels)!r:.200}; expected rows of each of the twelve bins, "
            "such as 'up by 0-1%': 40"
        )
    return {label: labels.get(label, 0) / total for label in BINS}


def modal_bin(shares: Mapping[str, float]) -> str:
    """The bin with the largest share; of equal ones that of the worse week."""
    return max(BINS, key=lambda label: shares[label])


def bin_metrics(
    predictions: Sequence[Prediction],
    truths: Sequence[Prediction],
    weeks: Sequence[Hashable] | None,
    train_labels: Mapping[str, int] | None,
) -> BinMetrics:
    """The two forecasts on the rows that a run's exact bin and distance are over.

    Exact bin: every row whose truth has a bin; a prediction without one is wrong. Distance: the
    rows where the prediction has a bin too, so that both are measured on the rows that the run
    chose to answer. Differences are paired and clustered by week.
    """
    if train_labels is None:
        return {"bin_baselines": None, "bin_baselines_reason": NO_TRAIN_LABELS}
    rows: list[_Row] = []
    for index, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        if (true := bin_of(truth)) is not None:
            rows.append(_Row(bin_of(prediction), true, weeks[index] if weeks else None))
    if not rows:
        return {"bin_baselines": None, "bin_baselines_reason": "no row has a true bin"}
    shares = train_shares(train_labels)
    modal = modal_bin(shares)
    certain = {label: float(label == modal) for label in BINS}
    baselines: BinBaselines = {
        "train_modal_bin": _baseline(rows, certain, modal),
        "train_frequencies": _baseline(rows, shares, None),
    }
    return {"bin_baselines": baselines, "bin_baselines_reason": None}


class _Row(NamedTuple):
    """A row with a true bin."""

    predicted: str | None
    true: str
    week: Hashable | None
    """None if the rows have no weeks."""

    @property
    def distance(self) -> float:
        """Between the predicted bin, which there must be, and the true one."""
        return float(abs(BINS.index(str(self.predicted)) - BINS.index(self.true)))


def _baseline(rows: Sequence[_Row], shares: Mapping[str, float], label: str | None) -> BinBaseline:
    """What a forecast of these shares for every row gets, and the run minus it."""
    stated = [row for row in rows if row.predicted is not None]
    exact = [float(row.predicted == row.true) for row in rows]
    hits = [shares[row.true] for row in rows]
    distances = [expected_distance(shares, row.true) for row in stated]
    return {
        "label": label,
        "bin12_acc": mean(hits),
        "bin12_difference": difference_entry(exact, hits, _weeks(rows)),
        "distance": mean(distances),
        "distance_difference": difference_entry(
            [row.distance for row in stated], distances, _weeks(stated)
        ),
        "rps": mean([rps(shares, row.true) for row in rows]),
    }


def _weeks(rows: Sequence[_Row]) -> list[Hashable] | None:
    weeks = [row.week for row in rows if row.week is not None]
    return weeks if len(weeks) == len(rows) else None


def difference_entry(
    ours: Sequence[float], theirs: Sequence[float], weeks: Sequence[Hashable] | None
) -> Difference:
    """The paired difference as metrics.json holds it, clustered by week."""
    estimate = paired_difference(ours, theirs, weeks)
    return {
        "difference": estimate.mean,
        "ci95": estimate.interval,
        "p": estimate.p,
        "n": estimate.n,
    }
