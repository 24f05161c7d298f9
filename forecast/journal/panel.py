"""Who forecasts beside the model: TF-IDF and the simple forecasts of a report."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

from data_pipeline.dataset.load import Dataset
from eval.generation.word_model import Fitted, bin_probabilities, bin_shares, fit, stated_bins
from eval.metrics.baselines import BASELINES
from forecast.company.inputs import unlabeled_row
from weekahead.schema.journal import Forecaster
from weekahead.schema.rows import ScorableRow
from weekahead.task.labels import label_of_magnitude
from weekahead.task.record import Record

_WITHOUT_DIRECTION = "zero_move"
"""The baseline that is there for its squared error alone."""


class Call(NamedTuple):
    """What a forecaster says of one company and week."""

    direction: int | None
    """1 or -1; None if it says nothing that can be read."""
    prediction: str | None
    """One of the twelve bins."""
    probabilities: dict[str, float] | None
    """Of the twelve bins, adding up to 1."""


OnCall = Callable[[int, Call], None]
"""Takes the call for the record with this number; it stands in the ledger when it returns."""


class Member(Protocol):
    """A forecaster of the panel."""

    @property
    def pinned(self) -> Forecaster:
        """What the first line of the ledger says of it: it must be the same every week."""
        ...

    def forecast(self, records: Sequence[Record], on_call: OnCall) -> None:
        """Pass on the call for each record (they have no return) as soon as it is made."""
        ...


class Baseline:
    """One of the simple forecasts (eval.metrics.baselines)."""

    def __init__(self, name: str, train_majority: int | None) -> None:
        self._name = name
        self._train_majority = train_majority

    @property
    def pinned(self) -> Forecaster:
        """Its name alone."""
        return unpinned(self._name)

    def forecast(self, records: Sequence[Record], on_call: OnCall) -> None:
        """Direction and size; no probabilities."""
        for number, record in enumerate(records):
            row = cast(
                "ScorableRow",
                {
                    "train_majority": self._train_majority,
                    "last_week_return": record.last_week_return,
                },
            )
            said = BASELINES[self._name](row)
            if said is None or said.magnitude is None:
                on_call(number, Call(None, None, None))
            else:
                on_call(number, Call(said.direction, label_of_magnitude(said.magnitude), None))


class WordModel:
    """TF-IDF and logistic regression, fitted on the rows that the adapter was trained on."""

    def __init__(self, dataset: Dataset) -> None:
        self._train = dataset.train
        self._fitted: Fitted | None = None

    @property
    def pinned(self) -> Forecaster:
        """The training rows: the same rows give the same model."""
        pinned = unpinned("tfidf")
        return {**pinned, "kind": "tfidf", "dataset_sha256": self._train.sha256}

    def forecast(self, records: Sequence[Record], on_call: OnCall) -> None:
        """The likelier direction, its usual bin, and the probabilities of eval.tfidf.

        Raises ValueError if all training labels have one direction.
        """
        self._fitted = self._fitted or fit(self._train)
        labels = [row["label"] for row in self._train.train]
        bins, shares = stated_bins(labels), bin_shares(labels)
        rows = [unlabeled_row(record) for record in records]
        for number, up in enumerate(self._fitted.up(rows) if rows else ()):
            direction = 1 if up >= 0.5 else -1
            probabilities = normalized(bin_probabilities(up, shares))
            on_call(number, Call(direction, bins[direction], probabilities))


def normalized(probabilities: dict[str, float]) -> dict[str, float]:
    """The same with ten decimals, adding up to 1."""
    total = math.fsum(probabilities.values())
    return {label: round(share / total, 10) for label, share in probabilities.items()}


def unpinned(name: str) -> Forecaster:
    """A forecaster that is no model and has nothing to pin but its name."""
    return {
        "name": name,
        "kind": "baseline",
        "adapter": None,
        "adapter_sha256": None,
        "base": None,
        "base_revision": None,
        "asked": None,
        "dataset_sha256": None,
    }


def simple_members(dataset: Dataset | None) -> list[Member]:
    """TF-IDF and the baselines; without a dataset those that need no training rows."""
    members: list[Member] = [WordModel(dataset)] if dataset else []
    majority = dataset.train_majority if dataset else None
    if dataset and majority is None:
        majority = dataset.train.train_majority
    for name in BASELINES:
        if name == _WITHOUT_DIRECTION or (name == "train_majority" and majority is None):
            continue
        members.append(Baseline(name, majority))
    return members
