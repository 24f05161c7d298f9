"""What is in a dataset, counted row by row."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TypedDict

from weekahead.schema.rows import DatasetRow, reference_text
from weekahead.task.labels import BINS, direction_of


class SplitCounts(TypedDict):
    """How many rows and weeks a split has, and its first and last week."""

    rows: int
    weeks: int
    first_week: str
    last_week: str


def up_share(labels: Mapping[str, int]) -> float | None:
    """The share of rows with an up bin, from the number of rows of each label; None without rows.

    Raises ValueError for an unknown label.
    """
    rows = sum(labels.values())
    ups = sum(count for label, count in labels.items() if direction_of(label) > 0)
    return ups / rows if rows else None


def train_majority(labels: Mapping[str, int]) -> int | None:
    """The direction that most rows have, from the number of rows of each label.

    +1 (also for a tie) or -1; None without rows. Raises ValueError for an unknown label.
    """
    share = up_share(labels)
    if share is None:
        return None
    return 1 if share >= 0.5 else -1


class DatasetStatistics:
    """Counts over the rows of a dataset: one pass, memory only for weeks and labels."""

    def __init__(self) -> None:
        self.synthetic = False
        self.without_reference = 0
        """Test rows whose reference answer is empty; their truth is the label."""
        self._labels: dict[str, Counter[str]] = defaultdict(Counter)
        self._weeks: dict[str, dict[str, list[int]]] = defaultdict(dict)
        self._dropped: Counter[str] = Counter()

    def add(self, row: DatasetRow, split: str) -> None:
        """Count one row of `split`."""
        self.synthetic |= bool(row.get("synthetic"))
        self.without_reference += not reference_text(row)
        self._labels[split][row["label"]] += 1
        week = self._weeks[split].setdefault(row["week_start"], [0, 0])
        week[0] += 1
        week[1] += direction_of(row["label"]) > 0

    def add_dropped(self, row: DatasetRow, reason: str) -> None:
        """Count one row that is in no split."""
        self.synthetic |= bool(row.get("synthetic"))
        self._dropped[reason] += 1

    def splits(self) -> dict[str, SplitCounts]:
        """The counts of each split that has rows, in the order of time."""
        ordered = sorted(self._weeks, key=lambda name: min(self._weeks[name]))
        return {name: self._split_counts(name) for name in ordered}

    def dropped(self) -> dict[str, int]:
        """Dropped rows by reason."""
        return dict(sorted(self._dropped.items()))

    def labels(self) -> dict[str, dict[str, int]]:
        """Rows of each bin by split, from the worst week to the best."""
        labels = {}
        for name in self.splits():
            labels[name] = {label: self._labels[name][label] for label in BINS}
        return labels

    def weeks(self) -> dict[str, dict[str, list[int]]]:
        """Rows and rows with an up bin of each week by split."""
        return {name: dict(sorted(self._weeks[name].items())) for name in self.splits()}

    def train_majority(self) -> int | None:
        """The direction that most training rows have, as in the function of this name."""
        return train_majority(self._labels["train"])

    def _split_counts(self, name: str) -> SplitCounts:
        weeks = self._weeks[name]
        return {
            "rows": sum(rows for rows, _ in weeks.values()),
            "weeks": len(weeks),
            "first_week": min(weeks),
            "last_week": max(weeks),
        }
