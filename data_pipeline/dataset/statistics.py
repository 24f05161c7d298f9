"""What is in a dataset, counted row by row."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from weekahead.files import Row
from weekahead.task.labels import BINS, direction_of


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
    """Counts over the rows of a dataset: one pass, memory for weeks and labels alone."""

    def __init__(self) -> None:
        self.synthetic = False
        self.without_reference = 0
        """Test rows whose reference answer is empty; their truth is the label."""
        self._labels: dict[str, Counter[str]] = defaultdict(Counter)
        self._weeks: dict[str, dict[str, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0, 0])
        )
        self._dropped: Counter[str] = Counter()

    def add(self, row: Row, split: str, reason: str | None) -> None:
        """Count one row of `split`, or one dropped for `reason`."""
        self.synthetic |= bool(row.get("synthetic"))
        if reason:
            self._dropped[reason] += 1
            return
        self.without_reference += not row["completion"][0]["content"]
        self._labels[split][row["label"]] += 1
        week = self._weeks[split][row["week_start"]]
        week[0] += 1
        week[1] += direction_of(row["label"]) > 0

    def splits(self) -> dict[str, Row]:
        """Rows, weeks, first and last week of each split that has rows, in the order of time."""
        ordered = sorted(self._weeks.items(), key=lambda item: min(item[1]))
        return {
            name: {
                "rows": sum(rows for rows, _ in weeks.values()),
                "weeks": len(weeks),
                "first_week": min(weeks),
                "last_week": max(weeks),
            }
            for name, weeks in ordered
        }

    def dropped(self) -> dict[str, int]:
        """Dropped rows by reason."""
        return dict(sorted(self._dropped.items()))

    def labels(self) -> dict[str, dict[str, int]]:
        """Rows of each bin by split, from the worst week to the best."""
        return {
            name: {label: self._labels[name][label] for label in BINS} for name in self.splits()
        }

    def weeks(self) -> dict[str, dict[str, list[int]]]:
        """Rows and up rows of each week by split."""
        return {
            name: {week: self._weeks[name][week] for week in sorted(self._weeks[name])}
            for name in self.splits()
        }

    def train_majority(self) -> int | None:
        """The direction that most training rows have, as in the function of this name."""
        return train_majority(self._labels["train"])
